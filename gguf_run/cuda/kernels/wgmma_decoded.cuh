// wgmma_decoded.cuh: products of a warpgroup on wgmma (wgmma.cuh) whose first operand is made in registers, with a twin for the
// emulator: there a product is done at once, by each warp for its 16 rows.
#pragma once
#include <cuda_fp16.h>
#include "wgmma.cuh"

// d (64 x N) f32 = a (64 x 16) f16 * b (16 x N) f16 (+ d where `adds`): a warp has 16 rows of d and a, as mma_m16n8k16_f16 has
// them (d for each eight columns); b as N rows of k, a wgmma_matrix; two more for each step of 16. d and a stay untouched until the group is over.
template <int N> struct Wgmma;
#if defined(CUDA_EMU)
template <int N> struct Wgmma {
  static unsigned b_pair(unsigned at) {
    at ^= (at >> 7 & 7) << 4;
    return *(const unsigned*)(emu_block->dynamic_shared + at);
  }
  static void run(float (&d)[N / 2], const unsigned (&a)[4], unsigned long long b, bool adds) {
    const unsigned lane = threadIdx.x % 32, start = (unsigned)(b & 0x3fff) << 4;
    for (int n = 0; n < N / 8; n++) {
      const unsigned at = start + n * 1024 + lane / 4 * 128 + lane % 4 * 4;
      const unsigned fragment[2] = {b_pair(at), b_pair(at + 16)};
      for (int i = 0; !adds && i < 4; i++) d[4 * n + i] = 0;
      emu::mma_f32<emu::DecodeF16>(d + 4 * n, a, fragment);
    }
  }
};
#else
// Operands of the instruction, in its text and in what it names.
#define WGMMA_D4 "%0, %1, %2, %3"
#define WGMMA_D8 WGMMA_D4 ", " \
  "%4, %5, %6, %7"
#define WGMMA_D16 WGMMA_D8 ", " \
  "%8, %9, %10, %11, %12, %13, %14, %15"
#define WGMMA_D32 WGMMA_D16 ", " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define WGMMA_D48 WGMMA_D32 ", " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define WGMMA_D64 WGMMA_D48 ", " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define WGMMA_D80 WGMMA_D64 ", " \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define WGMMA_D96 WGMMA_D80 ", " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define WGMMA_D112 WGMMA_D96 ", " \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111"
#define WGMMA_D128 WGMMA_D112 ", " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define WGMMA_R4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define WGMMA_R8(i) WGMMA_R4(i), WGMMA_R4((i) + 4)
#define WGMMA_R16(i) WGMMA_R8(i), WGMMA_R8((i) + 8)
#define WGMMA_R32(i) WGMMA_R16(i), WGMMA_R16((i) + 16)
#define WGMMA_R48(i) WGMMA_R32(i), WGMMA_R16((i) + 32)
#define WGMMA_R64(i) WGMMA_R48(i), WGMMA_R16((i) + 48)
#define WGMMA_R80(i) WGMMA_R64(i), WGMMA_R16((i) + 64)
#define WGMMA_R96(i) WGMMA_R80(i), WGMMA_R16((i) + 80)
#define WGMMA_R112(i) WGMMA_R96(i), WGMMA_R16((i) + 96)
#define WGMMA_R128(i) WGMMA_R112(i), WGMMA_R16((i) + 112)
#define WGMMA(N, ACC, A, B, ADDS)                                                                                      \
  template <> struct Wgmma<N> {                                                                                         \
    __device__ static __forceinline__ void run(float (&d)[ACC], const unsigned (&a)[4], unsigned long long b, bool adds) { \
      asm volatile("{\n.reg .pred adds;\nsetp.ne.b32 adds, " ADDS ", 0;\n"                                               \
                   "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.f16.f16 {" WGMMA_D##ACC "}, {" A "}, " B ", adds, 1, 1, 0;\n}" \
                   : WGMMA_R##ACC(0)                                                                                    \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((int)adds));                               \
    }                                                                                                                   \
  }
WGMMA(8, 4, "%4, %5, %6, %7", "%8", "%9");
WGMMA(16, 8, "%8, %9, %10, %11", "%12", "%13");
WGMMA(32, 16, "%16, %17, %18, %19", "%20", "%21");
WGMMA(64, 32, "%32, %33, %34, %35", "%36", "%37");
WGMMA(96, 48, "%48, %49, %50, %51", "%52", "%53");
WGMMA(128, 64, "%64, %65, %66, %67", "%68", "%69");
WGMMA(160, 80, "%80, %81, %82, %83", "%84", "%85");
WGMMA(192, 96, "%96, %97, %98, %99", "%100", "%101");
WGMMA(224, 112, "%112, %113, %114, %115", "%116", "%117");
WGMMA(256, 128, "%128, %129, %130, %131", "%132", "%133");
#endif
