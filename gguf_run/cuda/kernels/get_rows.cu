// get_rows: y[i,:] = table[ids[i],:] as f32
// table (n, n_col), quantised: rows of planes (quants/planes.cuh), or of T = float, half, nv_bfloat16 with `stride` elements
// between rows; ids (n_row) i32 in 0 ... n - 1; y (n_row, n_col) f32
// grid = (n_row; n_chunk or n_col over 128, rounded up), block = 128: a thread 32 elements of a quantised row, else one
// memory-bound: reads each row once
#include <cuda_bf16.h>
#include "quants/all.cuh"

template <class Q>
__global__ void __launch_bounds__(128)
get_rows_quantised(const uint8_t* __restrict__ table, const int* __restrict__ ids, float* __restrict__ y, int n_chunk) {
  const int c = blockIdx.y * 128 + threadIdx.x;
  if (c >= n_chunk) return;
  const uint8_t* row = table + ids[blockIdx.x] * (size_t)Q::row_bytes(n_chunk);
  const Chunk chunk = Q::unpack(Q::load(row, n_chunk / Q::CHUNKS, c), c);
  float4* out = (float4*)(y + ((size_t)blockIdx.x * n_chunk + c) * 32);
#pragma unroll
  for (int i = 0; i < 8; i++)
    out[i] = make_float4(element<Q>(chunk, 4 * i), element<Q>(chunk, 4 * i + 1), element<Q>(chunk, 4 * i + 2),
                         element<Q>(chunk, 4 * i + 3));
}

__device__ __forceinline__ float number(float v) { return v; }
__device__ __forceinline__ float number(half v) { return __half2float(v); }
__device__ __forceinline__ float number(nv_bfloat16 v) { return __bfloat162float(v); }

template <class T>
__global__ void __launch_bounds__(128)
get_rows_float(const T* __restrict__ table, const int* __restrict__ ids, float* __restrict__ y, int n_col, int stride) {
  const int i = blockIdx.y * 128 + threadIdx.x;
  if (i < n_col) y[(size_t)blockIdx.x * n_col + i] = number(table[(size_t)ids[blockIdx.x] * stride + i]);
}
