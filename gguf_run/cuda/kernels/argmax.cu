// argmax_f32:  out[r] = column of the largest element of x[r,:], the lowest one among equals (keys.cuh)
// argmax_keys: out[r] = column of the largest of keys[r,:]
// x (n_rows, n_col) f32 with strides (rows.cuh); keys (n_rows, n_part); out (n_rows) i32
// argmax_f32: block = (32 * N_WARPS, rows), grid = (ceil(n_rows / rows), n_part): a block looks at n_col / n_part
// columns, rounded up to multiples of WIDTH, and writes their largest key; with n_part = 1 it writes `out` itself
// argmax_keys: block = 32, grid = n_rows
// memory-bound: reads x once; several parts because one multiprocessor reads a row of logits too slowly
#include "keys.cuh"
#include "ptx.cuh"
#include "rows.cuh"

template <int N_WARPS, int WIDTH>
__global__ void __launch_bounds__(N_WARPS == 32 ? 1024 : 256) argmax_f32(
    const float* __restrict__ x, Key* __restrict__ keys, int* __restrict__ out, int n_rows, int n_col, int n_inner,
    Strides strides) {
  const int row = blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= n_rows) return;
  x += row_start(row, n_inner, strides);
  const int n = n_col / WIDTH, part = (n + gridDim.y - 1) / gridDim.y, stop = min(n, (int)(blockIdx.y + 1) * part);
  Key best = 0;
#pragma unroll 2  // four loads ahead would spill on sm_100
  for (int i = blockIdx.y * part + threadIdx.x; i < stop; i += blockDim.x) {
    const Floats<WIDTH> v = load<WIDTH>(x, i);
#pragma unroll
    for (int k = 0; k < WIDTH; k++) best = max(best, key_of(v.v[k], i * WIDTH + k));
  }
  best = block_max<N_WARPS>(best);
  if (threadIdx.x) return;
  if (gridDim.y == 1)
    out[row] = column_of(best);
  else
    keys[(long long)row * gridDim.y + blockIdx.y] = best;
}

extern "C" __global__ void __launch_bounds__(32) argmax_keys(
    const Key* __restrict__ keys, int* __restrict__ out, int n_part) {
  keys += (long long)blockIdx.x * n_part;
  Key best = 0;
  for (int i = threadIdx.x; i < n_part; i += 32) best = max(best, keys[i]);
  best = warp_max(best);
  if (threadIdx.x == 0) out[blockIdx.x] = column_of(best);
}
