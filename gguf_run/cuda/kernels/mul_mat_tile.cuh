// mul_mat_tile.cuh: y[t,r] = sum_k w[r,k] * x[t,k] (+ add[t,r]), w of T = float, half or nv_bfloat16, any shape; what
// the kernels for one matrix and for a matrix a head share
// w (n_out, n_in); x (n_tok, n_in) f32 with x_stride elements between rows; y (n_tok, n_out) f32 with its row stride; add
// f32 or null, its row stride 0 where all tokens get the same row; elements k_first ... k_last - 1 of n_in are summed
// grid = (n_out / 64, n_tok / 64), rounded up; block = 256: a tile of 64 x 64, 4 x 4 results a thread
// bound by f32 arithmetic: for matrices that the tensor cores can't take without loss (f32), or of odd row length
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include "ptx.cuh"

__device__ __forceinline__ float number(float v) { return v; }
__device__ __forceinline__ float number(half v) { return __half2float(v); }
__device__ __forceinline__ float number(nv_bfloat16 v) { return __bfloat162float(v); }

template <class T>
__device__ __forceinline__ void mul_mat_tile(
    const T* w, const float* x, const float* add, float* y, int n_tok, int n_out, int n_in, int k_first, int k_last,
    int x_stride, int y_stride, int add_stride) {
  constexpr int TILE = 64, DEPTH = 16;
  __shared__ float a[DEPTH][TILE + 1], b[DEPTH][TILE + 1];  // one more column: no bank conflicts when written by columns
  const int row0 = blockIdx.x * TILE, tok0 = blockIdx.y * TILE;
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  float sum[4][4] = {};
  for (int k0 = k_first; k0 < k_last; k0 += DEPTH) {
#pragma unroll
    for (int i = threadIdx.x; i < TILE * DEPTH; i += 256) {
      const int k = i % DEPTH, at = i / DEPTH;
      const bool inside = k0 + k < k_last;
      a[k][at] = inside && row0 + at < n_out ? number(w[(size_t)(row0 + at) * n_in + k0 + k]) : 0.0f;
      b[k][at] = inside && tok0 + at < n_tok ? x[(size_t)(tok0 + at) * x_stride + k0 + k] : 0.0f;
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < DEPTH; k++) {
      float u[4], v[4];
#pragma unroll
      for (int i = 0; i < 4; i++) u[i] = a[k][tx + 16 * i], v[i] = b[k][ty + 16 * i];
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) sum[i][j] += u[i] * v[j];
    }
    __syncthreads();  // the next round overwrites the tiles
  }
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const int row = row0 + tx + 16 * i, t = tok0 + ty + 16 * j;
      if (row < n_out && t < n_tok)
        y[(size_t)t * y_stride + row] = sum[i][j] + (add ? add[(size_t)t * add_stride + row] : 0.0f);
    }
}
