// ptx.cuh: everything that needs PTX, as small named functions, each with a twin for the emulator.
//
// What an architecture lacks is done another way where that is possible (sm_75: mma, cp.async; below sm_90: PDL is
// nothing). Bulk copies and mbarriers exist from sm_90 on only. Kernels branch on __CUDA_ARCH__ where they use them.
// Addresses of shared memory are plain pointers here.
#pragma once

#if defined(__CUDACC_RTC__)  // NVRTC has no <stdint.h>
using int8_t = signed char;
using uint8_t = unsigned char;
using int16_t = short;
using uint16_t = unsigned short;
using int32_t = int;
using uint32_t = unsigned;
#endif
#if defined(CUDA_EMU)
#include <emu_tensor.h>
#endif

__device__ __forceinline__ unsigned shared_address(const void* p) {
#if defined(CUDA_EMU)
  return (unsigned)((const char*)p - emu_block->dynamic_shared);
#else
  return (unsigned)__cvta_generic_to_shared(p);
#endif
}

// ---- tensor cores: d += a * b, fragments as PTX lays them out --------------------------------------------------

// d (16x8) f32 += a (16x8) f16 * b (8x8) f16
__device__ __forceinline__ void mma_m16n8k8_f16(float (&d)[4], unsigned a0, unsigned a1, unsigned b) {
#if defined(CUDA_EMU)
  const unsigned a[4] = {a0, a1, 0, 0}, bb[2] = {b, 0};
  emu::mma_f32<emu::DecodeF16>(d, a, bb);
#else
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a0), "r"(a1), "r"(b));
#endif
}

// d (16x8) f32 += a (16x16) f16 * b (16x8) f16
__device__ __forceinline__ void mma_m16n8k16_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if defined(CUDA_EMU)
  emu::mma_f32<emu::DecodeF16>(d, a, b);
#elif __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  mma_m16n8k8_f16(d, a[0], a[1], b[0]);
  mma_m16n8k8_f16(d, a[2], a[3], b[1]);
#endif
}

// d (16x8) f32 += a (16x16) bf16 * b (16x8) bf16. sm_75 has no such instruction: shuffles and f32, slow but right.
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if defined(CUDA_EMU)
  emu::mma_f32<emu::DecodeBf16>(d, a, b);
#elif __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  const int lane = threadIdx.x & 31, row = lane & ~3, column = (lane & 3) * 8;
#pragma unroll
  for (int k = 0; k < 8; k++) {
    unsigned upper = __shfl_sync(~0u, a[k / 4 * 2], row + k % 4), lower = __shfl_sync(~0u, a[k / 4 * 2 + 1], row + k % 4);
    unsigned left = __shfl_sync(~0u, b[k / 4], column + k % 4), right = __shfl_sync(~0u, b[k / 4], column + 4 + k % 4);
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float u = __uint_as_float(half ? upper & 0xffff0000u : upper << 16), l = __uint_as_float(half ? lower & 0xffff0000u : lower << 16);
      float x = __uint_as_float(half ? left & 0xffff0000u : left << 16), y = __uint_as_float(half ? right & 0xffff0000u : right << 16);
      d[0] += u * x, d[1] += u * y, d[2] += l * x, d[3] += l * y;
    }
  }
#endif
}

// d (8x8) s32 += a (8x16) s8 * b (16x8) s8
__device__ __forceinline__ void mma_m8n8k16_s8(int& d0, int& d1, unsigned a, unsigned b) {
#if defined(CUDA_EMU)
  const unsigned aa[4] = {a, 0, 0, 0}, bb[2] = {b, 0};
  int d[4] = {d0, d1, 0, 0};
  emu::mma_s32(d, aa, bb);
  d0 = d[0], d1 = d[1];
#else
  asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
               : "+r"(d0), "+r"(d1) : "r"(a), "r"(b));
#endif
}

// d (16x8) s32 += a (16x32) s8 * b (32x8) s8
__device__ __forceinline__ void mma_m16n8k32_s8(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if defined(CUDA_EMU)
  emu::mma_s32(d, a, b);
#elif __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  mma_m8n8k16_s8(d[0], d[1], a[0], b[0]);
  mma_m8n8k16_s8(d[0], d[1], a[2], b[1]);
  mma_m8n8k16_s8(d[2], d[3], a[1], b[0]);
  mma_m8n8k16_s8(d[2], d[3], a[3], b[1]);
#endif
}

// ---- ldmatrix: 8x8 tiles of 16-bit values from shared memory into fragments ------------------------------------
// Lane i names row i % 8 of tile i / 8: 16 bytes, 16-byte aligned. With one or two tiles the later lanes' rows are
// not read. `_trans` gives each tile transposed.

__device__ __forceinline__ void ldmatrix_x1(unsigned& r, const void* row) {
#if defined(CUDA_EMU)
  emu::ldmatrix<1, false>(&r, row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r) : "r"(shared_address(row)) : "memory");
#endif
}
__device__ __forceinline__ void ldmatrix_x2(unsigned (&r)[2], const void* row) {
#if defined(CUDA_EMU)
  emu::ldmatrix<2, false>(r, row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)) : "memory");
#endif
}
__device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], const void* row) {
#if defined(CUDA_EMU)
  emu::ldmatrix<4, false>(r, row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
#endif
}
__device__ __forceinline__ void ldmatrix_x2_trans(unsigned (&r)[2], const void* row) {
#if defined(CUDA_EMU)
  emu::ldmatrix<2, true>(r, row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)) : "memory");
#endif
}
__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&r)[4], const void* row) {
#if defined(CUDA_EMU)
  emu::ldmatrix<4, true>(r, row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
#endif
}

// ---- cp.async: copies from global to shared memory that the thread doesn't wait for ----------------------------

// N = 4, 8 or 16 bytes, both sides aligned to N; where `valid` is false zeros are written and `source` isn't read.
template <int N> __device__ __forceinline__ void copy_async(void* target, const void* source, bool valid = true) {
  static_assert(N == 4 || N == 8 || N == 16, "cp.async copies 4, 8 or 16 bytes");
#if defined(CUDA_EMU)
  emu_copy_async(target, source, N, valid ? N : 0);
#elif __CUDA_ARCH__ >= 800
  if (N == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :: "r"(shared_address(target)), "l"(source), "r"(valid ? 16 : 0) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;"
                 :: "r"(shared_address(target)), "l"(source), "n"(N), "r"(valid ? N : 0) : "memory");
#else
#pragma unroll
  for (int i = 0; i < N / 4; i++) ((unsigned*)target)[i] = valid ? ((const unsigned*)source)[i] : 0u;
#endif
}
// The copies since the last commit become a group.
__device__ __forceinline__ void copy_async_commit() {
#if defined(CUDA_EMU)
  emu_copy_commit();
#elif __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Waits for all of this thread's groups but the last N. Other threads' copies need a barrier behind this.
template <int N> __device__ __forceinline__ void copy_async_wait() {
#if defined(CUDA_EMU)
  emu_copy_wait(N);
#elif __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory");
#endif
}

// ---- bulk copies and mbarriers (sm_90 and later) ---------------------------------------------------------------
#if __CUDA_ARCH__ >= 900

// One thread prepares a barrier for `n_arrivals` a phase; then mbarrier_fence(), then __syncthreads().
__device__ __forceinline__ void mbarrier_init(unsigned long long* barrier, unsigned n_arrivals) {
#if defined(CUDA_EMU)
  emu_mbarrier_init(barrier, n_arrivals);
#else
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(shared_address(barrier)), "r"(n_arrivals) : "memory");
#endif
}
__device__ __forceinline__ void mbarrier_fence() {
#if !defined(CUDA_EMU)
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}
__device__ __forceinline__ void mbarrier_arrive(unsigned long long* barrier) {
#if defined(CUDA_EMU)
  emu_mbarrier_arrive(barrier, 0);
#else
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(shared_address(barrier)) : "memory");
#endif
}
// Arrives, and the phase now also waits for `n_bytes` of bulk copies.
__device__ __forceinline__ void mbarrier_arrive_expect(unsigned long long* barrier, unsigned n_bytes) {
#if defined(CUDA_EMU)
  emu_mbarrier_arrive(barrier, n_bytes);
#else
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
               :: "r"(shared_address(barrier)), "r"(n_bytes) : "memory");
#endif
}
// Waits until the phase of this parity is over: 0 for the first phase, 1 for the second, 0 for the third ...
__device__ __forceinline__ void mbarrier_wait(unsigned long long* barrier, unsigned parity) {
#if defined(CUDA_EMU)
  emu_mbarrier_wait(barrier, parity);
#else
  asm volatile("{\n.reg .pred over;\n"
               "again: mbarrier.try_wait.parity.shared::cta.b64 over, [%0], %1;\n"
               "@!over bra again;\n}" :: "r"(shared_address(barrier)), "r"(parity) : "memory");
#endif
}
// Copies n_bytes from global to shared memory and counts them at the barrier. All three multiples of 16.
__device__ __forceinline__ void bulk_copy(void* target, const void* source, unsigned n_bytes, unsigned long long* barrier) {
#if defined(CUDA_EMU)
  emu_bulk_copy(target, source, n_bytes, barrier);
#else
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
               :: "r"(shared_address(target)), "l"(source), "r"(n_bytes), "r"(shared_address(barrier)) : "memory");
#endif
}
// Copies n_bytes from shared to global memory; both addresses and the size multiples of 16. What was written to `source` is
// seen once its writers have called async_fence() and met this thread at a barrier. Then bulk_store_read(): it may be written
// again.
__device__ __forceinline__ void async_fence() {
#if !defined(CUDA_EMU)
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
__device__ __forceinline__ void bulk_store(void* target, const void* source, unsigned n_bytes) {
#if defined(CUDA_EMU)
  for (unsigned i = 0; i < n_bytes / 16; i++) ((uint4*)target)[i] = ((const uint4*)source)[i];
#else
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;\ncp.async.bulk.commit_group;"
               :: "l"(target), "r"(shared_address(source)), "r"(n_bytes) : "memory");
#endif
}
__device__ __forceinline__ void bulk_store_read() {
#if !defined(CUDA_EMU)
  asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
#endif
}
// Brings n_bytes into the L2 cache; address and size multiples of 16.
__device__ __forceinline__ void bulk_prefetch(const void* source, unsigned n_bytes) {
#if !defined(CUDA_EMU)
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" :: "l"(source), "r"(n_bytes) : "memory");
#endif
}
#endif  // __CUDA_ARCH__ >= 900

// ---- programmatic dependent launch ------------------------------------------------------------------------------

// Waits until the kernels ahead have ended and what they wrote can be read. Every kernel launched with pdl=True calls it.
__device__ __forceinline__ void pdl_wait() {
#if defined(CUDA_EMU)
  emu_pdl_wait();
#elif __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// Instead of pdl_wait(), in a block that touches nothing and ends at once: it makes room for those that work.
__device__ __forceinline__ void pdl_leave() {
#if defined(CUDA_EMU)
  emu_pdl_wait();
#endif
}
// Once every block has called this (or ended), the next kernel may start.
__device__ __forceinline__ void pdl_trigger() {
#if !defined(CUDA_EMU) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// ---- barriers and flags -------------------------------------------------------------------------------------------

// A barrier of `n_threads` (a multiple of 32) of the block; id 1 ... 15, 0 is __syncthreads().
__device__ __forceinline__ void named_barrier(int id, int n_threads) {
#if defined(CUDA_EMU)
  emu_barrier(id, n_threads, 0);
#else
  asm volatile("bar.sync %0, %1;" :: "r"(id), "r"(n_threads) : "memory");
#endif
}
// Reads a flag that another block sets: what that block wrote before is seen after. Spin on this alone.
__device__ __forceinline__ unsigned load_acquire(const unsigned* flag) {
#if defined(CUDA_EMU)
  emu_yield();
  return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
#else
  unsigned value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(flag) : "memory");
  return value;
#endif
}
// Adds to a flag; what this thread wrote before is seen by whoever reads the new value with load_acquire.
__device__ __forceinline__ void add_release(unsigned* flag, unsigned value) {
#if defined(CUDA_EMU)
  __atomic_fetch_add(flag, value, __ATOMIC_RELEASE);
#else
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" :: "l"(flag), "r"(value) : "memory");
#endif
}

// The same with what others wrote before they added: it is seen after. Returns what the flag was.
__device__ __forceinline__ unsigned add_acquire_release(unsigned* flag, unsigned value) {
#if defined(CUDA_EMU)
  return __atomic_fetch_add(flag, value, __ATOMIC_ACQ_REL);
#else
  unsigned old;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;" : "=r"(old) : "l"(flag), "r"(value) : "memory");
  return old;
#endif
}
// threadIdx.x, read anew: what is computed of it takes no registers before.
__device__ __forceinline__ int thread_anew() {
#if defined(CUDA_EMU)
  return threadIdx.x;
#else
  int thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  return thread;
#endif
}

// ---- arithmetic and loads ------------------------------------------------------------------------------------------

// c + the dot product of four unsigned bytes with four signed bytes
__device__ __forceinline__ int dp4a_us(unsigned a, int b, int c) {
#if defined(CUDA_EMU)
  for (int i = 0; i < 4; i++) c += (int)(a >> 8 * i & 255) * (int8_t)(b >> 8 * i);
  return c;
#else
  int d;
  asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
#endif
}
// v, which the compiler keeps in a register instead of computing it again.
__device__ __forceinline__ int opaque(int v) {
  asm volatile("" : "+r"(v));
  return v;
}
// 16 bytes that are read once: they needn't stay in L1.
__device__ __forceinline__ uint4 load_once(const uint4* p) {
#if defined(CUDA_EMU)
  return *p;
#else
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
  return v;
#endif
}

// ---- reductions ------------------------------------------------------------------------------------------------------

struct Sum {
  template <class T> __device__ static T apply(T a, T b) { return a + b; }
};
struct Max {
  template <class T> __device__ static T apply(T a, T b) { return max(a, b); }
};

// Over each WIDTH neighbouring lanes; all 32 lanes call it and all get the result.
template <class F, int WIDTH, class T> __device__ __forceinline__ T warp_reduce(T v) {
#if defined(CUDA_EMU)
  return emu::butterfly<F, WIDTH>(v);
#else
#pragma unroll
  for (int step = WIDTH / 2; step; step /= 2) v = F::apply(v, __shfl_xor_sync(0xffffffffu, v, step));
  return v;
#endif
}
template <int WIDTH = 32, class T> __device__ __forceinline__ T warp_sum(T v) { return warp_reduce<Sum, WIDTH>(v); }
template <int WIDTH = 32, class T> __device__ __forceinline__ T warp_max(T v) { return warp_reduce<Max, WIDTH>(v); }

// As warp_max, and the least, of numbers that sm_80 and later reduce in one instruction.
__device__ __forceinline__ unsigned warp_max_word(unsigned v) {
#if __CUDA_ARCH__ >= 800
  return __reduce_max_sync(0xffffffffu, v);
#else
  return warp_max(v);
#endif
}
__device__ __forceinline__ unsigned warp_min_word(unsigned v) { return ~warp_max_word(~v); }

// Over a block of N_WARPS * 32 threads, all of which call it and get the result. Two barriers.
template <class F, int N_WARPS, class T> __device__ __forceinline__ T block_reduce(T v) {
  __shared__ T part[N_WARPS];
  v = warp_reduce<F, 32>(v);
  if (N_WARPS == 1) return v;
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  v = part[0];
#pragma unroll
  for (int w = 1; w < N_WARPS; w++) v = F::apply(v, part[w]);
  __syncthreads();  // the next call writes `part` again
  return v;
}
template <int N_WARPS, class T> __device__ __forceinline__ T block_sum(T v) { return block_reduce<Sum, N_WARPS>(v); }
template <int N_WARPS, class T> __device__ __forceinline__ T block_max(T v) { return block_reduce<Max, N_WARPS>(v); }
