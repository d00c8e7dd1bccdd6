// wgmma.cuh: products of a warpgroup (128 threads) on the tensor cores of sm_90a, as small named functions.
//
// d (64 x N, f32) = or += A (64 x 16, f16) * B (16 x N, f16). Thread i of the warpgroup has rows 16 (i / 32) + i % 32 / 4 and 8
// further down: d[4 n + 2 r + e] is column 8 n + 2 (i % 4) + e of row r of these two.
// Operands in shared memory are rows of 64 numbers (128 bytes) whose 16-byte units are permuted: unit u of row r is at u ^ r % 8
// (the 128-byte swizzle), tiles aligned to 1024 bytes; wider rows are several such tiles.
// Products run on their own: wgmma_fence() before the first, wgmma_commit() behind the last of a batch, wgmma_wait<N>() until at most
// N batches are unfinished; `wgmma_hold` keeps the compiler from moving reads of results ahead of that.
// For the emulator there are twins only of what wgmma_decoded.cuh takes of it; other kernels are launched on sm_90a alone.
#pragma once
#include "ptx.cuh"

#if defined(CUDA_EMU)
__device__ __forceinline__ void wgmma_fence() {}
__device__ __forceinline__ void wgmma_commit() {}
template <int N> __device__ __forceinline__ void wgmma_wait() {}
__device__ __forceinline__ void wgmma_publish() {}
__device__ __forceinline__ void mbarrier_arrive_behind_copies(unsigned long long* barrier) {
  copy_async_commit();
  copy_async_wait<0>();
  mbarrier_arrive(barrier);
}
template <int N> __device__ __forceinline__ void fewer_registers() {}
template <int N> __device__ __forceinline__ void more_registers() {}
#else
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> __device__ __forceinline__ void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }
template <int N> __device__ __forceinline__ void wgmma_hold(float (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) asm volatile("" : "+f"(d[i])::"memory");
}

// Arrives at a barrier once all copies that this thread has started (copy_async) are there; who waits for it then calls
// wgmma_publish().
__device__ __forceinline__ void mbarrier_arrive_behind_copies(unsigned long long* barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(barrier)) : "memory");
}

// What this thread wrote to shared memory can be read by wgmma once a barrier has been passed.
__device__ __forceinline__ void wgmma_publish() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Registers a thread of this warpgroup has from now on; all of its warps call it.
template <int N> __device__ __forceinline__ void fewer_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N> __device__ __forceinline__ void more_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }

// Arrives at a barrier that others wait for by named_barrier.
__device__ __forceinline__ void named_arrive(int id, int n_threads) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(n_threads) : "memory"); }

// A table of rows in global memory, as the driver describes it (tensor_map.py); a kernel parameter `const __grid_constant__`.
struct alignas(64) TensorMap {
  unsigned char bytes[128];
};
// Copies a box of the table, from this column and row on, to shared memory (swizzled as above; zeros for columns beyond the last), and
// counts its bytes at the barrier.
__device__ __forceinline__ void tensor_copy(void* target, const TensorMap& map, int column, int row, unsigned long long* barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
               ::"r"(shared_address(target)), "l"(&map), "r"(column), "r"(row), "r"(shared_address(barrier)) : "memory");
}

#endif

// A matrix in shared memory, swizzled, groups of eight rows 1024 bytes apart. `tile_bytes` from one 64 columns to the next, where rows run along k
// (`_kn`); else it is not looked at.
__device__ __forceinline__ unsigned long long wgmma_matrix(unsigned address, unsigned tile_bytes = 16) {
  return (address & 0x3ffff) >> 4 | (unsigned long long)(tile_bytes >> 4) << 16 | 64ull << 32 | 1ull << 62;
}

#if !defined(CUDA_EMU)
// What the lower half of a wgmma_matrix grows by for the matrix n bytes further; the upper half is the same for all.
__device__ constexpr unsigned wgmma_offset(unsigned n_bytes) { return n_bytes >> 4; }
constexpr unsigned WGMMA_SWIZZLE = 1u << 30 | 64;

// Matrices are given by their lower halves.
// wgmma_nk: A (64 rows of k) and B (N rows of k) in shared memory; `adds` false: d is overwritten.
// wgmma_kn: A in registers (four pairs of f16, as mma_m16n8k16_f16 takes them), B in shared memory as k rows of N; d += A B.
#define F8(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define F32_(i) F8(i), F8(i + 8), F8(i + 16), F8(i + 24)
__device__ __forceinline__ void wgmma_nk(float (&d)[32], unsigned a, unsigned b, bool adds) {
  asm volatile("{\n.reg .pred p;\n.reg .b64 x, y;\nsetp.ne.b32 p, %35, 0;\nmov.b64 x, {%32, %34};\nmov.b64 y, {%33, %34};\nwgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 "
               "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
               "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, "
               "x, y, p, 1, 1, 0, 0;\n}"
               : F32_(0) : "r"(a), "r"(b), "r"(WGMMA_SWIZZLE), "r"((int)adds));
}
__device__ __forceinline__ void wgmma_kn(float (&d)[32], const unsigned (&a)[4], unsigned b) {
  asm volatile("{\n.reg .pred p;\n.reg .b64 y;\nmov.b64 y, {%36, %37};\nsetp.eq.u32 p, 0, 0;\nwgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 "
               "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
               "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, "
               "{%32,%33,%34,%35}, y, p, 1, 1, 1;\n}"
               : F32_(0) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b), "r"(WGMMA_SWIZZLE));
}
__device__ __forceinline__ void wgmma_kn(float (&d)[48], const unsigned (&a)[4], unsigned b) {
  asm volatile("{\n.reg .pred p;\n.reg .b64 y;\nmov.b64 y, {%52, %53};\nsetp.eq.u32 p, 0, 0;\nwgmma.mma_async.sync.aligned.m64n96k16.f32.f16.f16 "
               "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
               "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
               "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47}, "
               "{%48,%49,%50,%51}, y, p, 1, 1, 1;\n}"
               : F32_(0), F8(32), F8(40) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b), "r"(WGMMA_SWIZZLE));
}
__device__ __forceinline__ void wgmma_nk(float (&d)[64], unsigned a, unsigned b, bool adds) {
  asm volatile("{\n.reg .pred p;\n.reg .b64 x, y;\nsetp.ne.b32 p, %67, 0;\nmov.b64 x, {%64, %66};\nmov.b64 y, {%65, %66};\nwgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 "
               "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
               "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
               "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
               "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}, "
               "x, y, p, 1, 1, 0, 0;\n}"
               : F32_(0), F32_(32) : "r"(a), "r"(b), "r"(WGMMA_SWIZZLE), "r"((int)adds));
}
__device__ __forceinline__ void wgmma_kn(float (&d)[64], const unsigned (&a)[4], unsigned b) {
  asm volatile("{\n.reg .pred p;\n.reg .b64 y;\nmov.b64 y, {%68, %69};\nsetp.eq.u32 p, 0, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 "
               "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
               "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
               "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
               "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}, "
               "{%64,%65,%66,%67}, y, p, 1, 1, 1;\n}"
               : F32_(0), F32_(32) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b), "r"(WGMMA_SWIZZLE));
}
#undef F8
#undef F32_
#endif
