// top_k: out[r,:] = columns of the k largest elements of x[r,:], largest first, the lower one among equals (keys.cuh)
// x (n_rows, n_col) f32 with strides (rows.cuh), n_col >= k; out (n_rows, k) i32
//
// top_k_f32_warp<PER_LANE>: n_col <= 32 * PER_LANE, k <= 32: routers of experts
//   block = (32, rows), grid = ceil(n_rows / rows): a warp a row takes the largest k times
//   latency-bound: five shuffles of 64 bits for each of k
// top_k_f32_sort<SIZE>, top_k_keys_sort<SIZE>: any row, k <= SIZE: samplers
//   block = min(SIZE / 2, 1024), grid = (n_rows, ceil(n / SIZE)): a block sorts SIZE elements (or the keys (n_rows, n)
//   that an earlier launch kept) and keeps k; the last launch, of one block a row, gives `out` instead of `kept`
//   kept (n_rows, gridDim.y, k): k keys of each block, 0 where it had fewer elements
//   bound by shared memory: about log2(SIZE)^2 / 2 steps of a bitonic sort
#include "keys.cuh"
#include "ptx.cuh"
#include "rows.cuh"
#include "sort.cuh"

template <int PER_LANE>
__global__ void __launch_bounds__(256) top_k_f32_warp(
    const float* __restrict__ x, int* __restrict__ out, int n_rows, int n_col, int n_inner, Strides strides, int k) {
  const int row = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
  if (row >= n_rows) return;
  x += row_start(row, n_inner, strides);
  Key keys[PER_LANE];
#pragma unroll
  for (int i = 0; i < PER_LANE; i++) {
    const int column = i * 32 + lane;
    keys[i] = column < n_col ? key_of(x[column], column) : 0;
  }
  Key mine = 0;
  for (int rank = 0; rank < k; rank++) {
    Key best = keys[0];
#pragma unroll
    for (int i = 1; i < PER_LANE; i++) best = max(best, keys[i]);
    best = warp_max(best);
    if (lane == rank) mine = best;
#pragma unroll
    for (int i = 0; i < PER_LANE; i++) keys[i] = keys[i] == best ? 0 : keys[i];
  }
  if (lane < k) out[(long long)row * k + lane] = column_of(mine);
}

__device__ __forceinline__ void keep_first(const Key* keys, Key* kept, int* out, int k) {
  const long long at = ((long long)blockIdx.x * gridDim.y + blockIdx.y) * k;
  for (int i = threadIdx.x; i < k; i += blockDim.x) {
    if (gridDim.y == 1)
      out[at + i] = column_of(keys[i]);
    else
      kept[at + i] = keys[i];
  }
}

template <int SIZE>
__global__ void __launch_bounds__(SIZE < 2048 ? SIZE / 2 : 1024) top_k_f32_sort(
    const float* __restrict__ x, Key* __restrict__ kept, int* __restrict__ out, int n_col, int n_inner, Strides strides,
    int k) {
  __shared__ Key keys[SIZE];
  x += row_start(blockIdx.x, n_inner, strides);
  for (int i = threadIdx.x; i < SIZE; i += blockDim.x) {
    const long long column = (long long)blockIdx.y * SIZE + i;
    keys[i] = column < n_col ? key_of(x[column], (int)column) : 0;
  }
  __syncthreads();
  bitonic_sort(keys, SIZE);
  keep_first(keys, kept, out, k);
}

template <int SIZE>
__global__ void __launch_bounds__(SIZE < 2048 ? SIZE / 2 : 1024) top_k_keys_sort(
    const Key* __restrict__ from, Key* __restrict__ kept, int* __restrict__ out, int n, int k) {
  __shared__ Key keys[SIZE];
  from += (long long)blockIdx.x * n;
  for (int i = threadIdx.x; i < SIZE; i += blockDim.x) {
    const long long at = (long long)blockIdx.y * SIZE + i;
    keys[i] = at < n ? from[at] : 0;
  }
  __syncthreads();
  bitonic_sort(keys, SIZE);
  keep_first(keys, kept, out, k);
}
