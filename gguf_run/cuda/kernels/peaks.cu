// read_peak: reads x once and keeps nothing of it; what the device's memory gives at most
// x (n) uint4, n a multiple of 4 * gridDim.x * blockDim.x; out (gridDim.x * blockDim.x) u32: the XOR of what each thread
// has read, so that no load is left out
// grid = any, block = 512: all threads read side by side, four loads of 16 bytes ahead
// memory-bound: reads x once
//
// mma_peak: multiplies registers; what the tensor cores give at most through mma.sync, f16 with f32 sums
// out (gridDim.x * blockDim.x) f32: a sum of the thread's results
// grid = any, block = 256: 8 warps, each n_round times N_CHAIN products of 16 x 8 x 16 that don't wait for each other
// compute-bound: touches no memory but for out
#include <cuda_fp16.h>

#include "ptx.cuh"

extern "C" __global__ void __launch_bounds__(512) read_peak(
    const uint4* __restrict__ x, unsigned* __restrict__ out, long long n) {
  const long long step = (long long)gridDim.x * blockDim.x;
  const long long id = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  unsigned sum = 0;
  for (long long i = id; i < n; i += 4 * step) {
    uint4 v[4];
#pragma unroll
    for (int k = 0; k < 4; k++) v[k] = x[i + k * step];
#pragma unroll
    for (int k = 0; k < 4; k++) sum ^= v[k].x ^ v[k].y ^ v[k].z ^ v[k].w;
  }
  out[id] = sum;
}

constexpr int N_CHAIN = 8;

extern "C" __global__ void __launch_bounds__(256) mma_peak(float* __restrict__ out, int n_round) {
  float d[N_CHAIN][4] = {};
  // Halves of 1 in all places: each product adds 16 to every sum.
  const unsigned ones = 0x3C003C00u;
  const unsigned a[4] = {ones, ones, ones, ones}, b[2] = {ones, ones};
  for (int round = 0; round < n_round; round++) {
#pragma unroll
    for (int i = 0; i < N_CHAIN; i++) mma_m16n8k16_f16(d[i], a, b);
  }
  float sum = 0;
#pragma unroll
  for (int i = 0; i < N_CHAIN; i++) sum += d[i][0] + d[i][1] + d[i][2] + d[i][3];
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}
