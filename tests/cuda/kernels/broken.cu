// Broken kernels that tests/cuda/test_emulator.py runs: the emulator must find what is wrong with each.
#include "../../../gguf_run/cuda/kernels/ptx.cuh"

extern "C" __global__ void no_barrier(const float* x, float* y) {
  extern __shared__ float staged[];
  int i = threadIdx.x;
  staged[i] = x[i];
  y[i] = staged[blockDim.x - 1 - i];  // no __syncthreads()
}
extern "C" __global__ void static_shared_before_write(float* y) {
  __shared__ float once[32];
  y[threadIdx.x] = once[threadIdx.x];
  once[threadIdx.x] = 1;
}
extern "C" __global__ void divergent_collectives(float* y) {
  if (threadIdx.x & 1) __syncwarp();
  else y[threadIdx.x] = __shfl_xor_sync(~0u, 1.0f, 1);
}
extern "C" __global__ void half_a_barrier(float* y) {
  if (threadIdx.x < 16) __syncthreads();
  else y[threadIdx.x] = __shfl_xor_sync(~0u, 1.0f, 1);
}
extern "C" __global__ void mask_without_self(float* y) { y[threadIdx.x] = __shfl_sync(1u, 1.0f, 0); }
extern "C" __global__ void misaligned(const unsigned char* x, int* y) { y[0] = *(const int*)(x + 2); }
extern "C" __global__ void misaligned_vector(const float* x, float* y) { y[0] = ((const float4*)(x + 1))->w; }
extern "C" __global__ void index_out_of_array(float* y, int i) {
  __shared__ float small[4];
  small[threadIdx.x & 3] = 1;
  y[0] = small[i];
}
extern "C" __global__ void read_at(const float* x, float* y, int i) { y[0] = x[i]; }
extern "C" __global__ void write_at(float* x, int i) { x[i] = 1; }
extern "C" __global__ void shared_at(float* y, int i) {
  extern __shared__ float staged[];
  staged[i] = 1;
  y[0] = staged[i];
}
extern "C" __global__ void divide(int* y, int by) { y[0] = 7 / by; }
extern "C" __global__ void trap() { __trap(); }
__device__ __noinline__ int deep(int n, volatile char* above) {
  volatile char local[4096];
  local[0] = above[0];
  return n ? deep(n - 1, local) + local[0] : 0;
}
extern "C" __global__ void recursion(int* y, int n) {
  volatile char local[1] = {1};
  y[0] = deep(n, local);
}
extern "C" __global__ void unwaited_copy(const float* x, float* y) {
  __shared__ float staged[32];
  copy_async<4>(&staged[threadIdx.x], &x[threadIdx.x]);
  copy_async_commit();
  y[threadIdx.x] = staged[threadIdx.x];  // no copy_async_wait
  copy_async_wait<0>();
}
extern "C" __global__ void unwaited_bulk(const float* x, float* y) {
  __shared__ __align__(16) float staged[32];
  __shared__ unsigned long long full;
  mbarrier_init(&full, 1);
  mbarrier_arrive_expect(&full, 128);
  bulk_copy(staged, x, 128, &full);
  y[0] = staged[0];
}
extern "C" __global__ void wrong_byte_count(const float* x, float* y) {
  __shared__ __align__(16) float staged[32];
  __shared__ unsigned long long full;
  mbarrier_init(&full, 1);
  mbarrier_arrive_expect(&full, 256);
  bulk_copy(staged, x, 128, &full);
  mbarrier_wait(&full, 0);
  y[0] = staged[0];
}
extern "C" __global__ void misaligned_bulk(const float* x) {
  __shared__ __align__(16) float staged[32];
  __shared__ unsigned long long full;
  mbarrier_init(&full, 1);
  bulk_copy(staged, x + 1, 64, &full);
}
extern "C" __global__ void barrier_before_init() {
  __shared__ unsigned long long full;
  mbarrier_wait(&full, 0);
}
extern "C" __global__ void half_a_warp(float* y) {
  if (threadIdx.x < 16) return;
  y[0] = warp_sum(1.0f);
}
extern "C" __global__ void reads_before_pdl_wait(const float* x, float* y) {
  float early = x[threadIdx.x];
  pdl_wait();
  y[threadIdx.x] = early + 1;
}
extern "C" __global__ void copies_before_pdl_wait(const float* x, float* y) {
  __shared__ float staged[32];
  copy_async<4>(&staged[threadIdx.x], &x[threadIdx.x]);
  copy_async_commit();
  pdl_wait();
  copy_async_wait<0>();
  y[threadIdx.x] = staged[threadIdx.x] + 1;
}
extern "C" __global__ void no_pdl_wait(float* y) { y[0] = 1; }
