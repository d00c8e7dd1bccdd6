// mul_mat_vec_float.cuh: y[t,r] = sum_k w[r,k] * x[t,k] (+ add[t,r]) for few tokens, w of T = float, half or
// nv_bfloat16; what the kernels for one matrix, for chosen experts and for a matrix a head share
// w (n_out, n_in); x (n_tok, n_in) f32 with x_stride elements between rows; y (n_tok, n_out) f32 with its row stride; add
// f32 or null, its row stride 0 where all tokens get the same row; N_TOK / 2 < n_tok <= N_TOK
// VEC = 8: n_in % 8 == 0, rows of x 16-byte aligned; VEC = 1: anything
// block = (32, groups * k_split <= 4): k_split neighbouring warps share two rows; blocks are numbered by `unit`
// memory-bound: 16-byte loads of two rows a warp, every weight loaded once for all tokens
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include "ptx.cuh"

__device__ __forceinline__ float number(float v) { return v; }
__device__ __forceinline__ float number(half v) { return __half2float(v); }
__device__ __forceinline__ float number(nv_bfloat16 v) { return __bfloat162float(v); }

template <class T, int VEC> struct alignas(VEC == 1 ? sizeof(T) : 16) Vector {
  T v[VEC];
};

// Rows unit * groups * 2 and following; the whole block calls it, once.
template <class T, int N_TOK, int VEC>
__device__ __forceinline__ void mul_mat_vec(
    const T* w, const float* x, const float* add, float* y, int unit, int n_tok, int n_out, int n_in, int k_split,
    int x_stride, int y_stride, int add_stride) {
  constexpr int ROWS = 2;
  __shared__ float part[4][ROWS * N_TOK];
  const int lane = threadIdx.x, warp = threadIdx.y, groups = blockDim.y / k_split;
  const int slice = warp % k_split, row0 = (unit * groups + warp / k_split) * ROWS;
  float sum[ROWS][N_TOK] = {};
#pragma unroll 2
  for (int k = (slice * 32 + lane) * VEC; k < n_in; k += 32 * k_split * VEC) {
    Vector<T, VEC> a[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) a[r] = *(const Vector<T, VEC>*)(w + (size_t)min(row0 + r, n_out - 1) * n_in + k);
#pragma unroll
    for (int t = 0; t < N_TOK; t++) {
      const Vector<float, VEC> b = *(const Vector<float, VEC>*)(x + (size_t)min(t, n_tok - 1) * x_stride + k);
#pragma unroll
      for (int i = 0; i < VEC; i++)
#pragma unroll
        for (int r = 0; r < ROWS; r++) sum[r][t] += number(a[r].v[i]) * b.v[i];
    }
  }

#pragma unroll
  for (int r = 0; r < ROWS; r++)
#pragma unroll
    for (int t = 0; t < N_TOK; t++) {
      const float total = warp_sum(sum[r][t]);
      if (lane == 0) part[warp][r * N_TOK + t] = total;
    }
  __syncthreads();
  for (int i = warp * 32 + lane; i < groups * ROWS * N_TOK; i += blockDim.y * 32) {
    const int group = i / (ROWS * N_TOK), at = i % (ROWS * N_TOK), t = at % N_TOK;
    const int row = (unit * groups + group) * ROWS + at / N_TOK;
    if (row >= n_out || t >= n_tok) continue;
    float total = add ? add[(size_t)t * add_stride + row] : 0.0f;
    for (int s = 0; s < k_split; s++) total += part[group * k_split + s][at];
    y[(size_t)t * y_stride + row] = total;
  }
}
