// mul_mat_tile.cuh: y[t,r] = sum_k w[r,k] * x[t,k] (+ add[t,r]) for many tokens, w of T = float, half or nv_bfloat16, any shape; what
// the kernels for one matrix and for a matrix a head share
// w (n_out, n_in); x (n_tok, n_in) f32 with x_stride elements between rows; y (n_tok, n_out) f32 with its row stride; add
// f32 or null, its row stride 0 where all tokens get the same row; elements k_first ... k_last - 1 of n_in are summed
// grid = (n_out / 64, n_tok / 128), rounded up; block = 256: a tile of 64 rows x 128 tokens, 4 x 8 results a thread
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
  constexpr int ROWS = 64, TOKENS = 128, DEPTH = 16, THREADS = 256, STEP = THREADS / DEPTH;
  // Columns are written by lanes of neighbouring k and read four at a time.
  __shared__ __align__(16) float a[DEPTH][ROWS + 4], b[DEPTH][TOKENS + 4];
  const int row0 = blockIdx.x * ROWS, tok0 = blockIdx.y * TOKENS;
  const int tx = threadIdx.x % 16 * 4, ty = threadIdx.x / 16 * 4, k = threadIdx.x % DEPTH, at = threadIdx.x / DEPTH;
  float next_a[ROWS / STEP], next_b[TOKENS / STEP];
  const auto load = [&](int k0) {
    const bool inside = k0 + k < k_last;
#pragma unroll
    for (int i = 0; i < ROWS / STEP; i++) {
      const int r = row0 + at + i * STEP;
      next_a[i] = inside && r < n_out ? number(w[(size_t)r * n_in + k0 + k]) : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < TOKENS / STEP; i++) {
      const int t = tok0 + at + i * STEP;
      next_b[i] = inside && t < n_tok ? x[(size_t)t * x_stride + k0 + k] : 0.0f;
    }
  };
  float sum[4][8] = {};
  load(k_first);
  for (int k0 = k_first; k0 < k_last; k0 += DEPTH) {
    __syncthreads();  // nobody reads the tiles of the round before
#pragma unroll
    for (int i = 0; i < ROWS / STEP; i++) a[k][at + i * STEP] = next_a[i];
#pragma unroll
    for (int i = 0; i < TOKENS / STEP; i++) b[k][at + i * STEP] = next_b[i];
    __syncthreads();
    load(k0 + DEPTH);
#pragma unroll
    for (int d = 0; d < DEPTH; d++) {
      const float4 u = *(const float4*)&a[d][tx], p = *(const float4*)&b[d][ty], q = *(const float4*)&b[d][ty + TOKENS / 2];
      const float rows[4] = {u.x, u.y, u.z, u.w}, tokens[8] = {p.x, p.y, p.z, p.w, q.x, q.y, q.z, q.w};
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) sum[i][j] += rows[i] * tokens[j];
    }
  }
#pragma unroll
  for (int j = 0; j < 8; j++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int row = row0 + tx + i, t = tok0 + ty + j % 4 + j / 4 * (TOKENS / 2);
      if (row < n_out && t < n_tok)
        y[(size_t)t * y_stride + row] = sum[i][j] + (add ? add[(size_t)t * add_stride + row] : 0.0f);
    }
}
