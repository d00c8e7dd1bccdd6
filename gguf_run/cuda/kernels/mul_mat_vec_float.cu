// mul_mat_vec_f32: y[t,r] = sum_k w[r,k] * x[t,k] (+ add[t,r]) for few tokens, w of T = float, half or nv_bfloat16
// w (n_out, n_in); x (n_tok, n_in) f32 with x_stride elements between rows; y (n_tok, n_out) f32; add f32 or null, its
// row stride 0 where all tokens get the same row; N_TOK / 2 < n_tok <= N_TOK
// VEC = 8: n_in % 8 == 0, x 16-byte aligned and x_stride % 4 == 0; VEC = 1: anything
// grid = n_out / (2 * groups), rounded up; block = (32, groups * k_split <= 4): k_split neighbouring warps share two rows
// memory-bound: 16-byte loads of two rows a warp, every weight loaded once for all tokens
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include "ptx.cuh"

__device__ __forceinline__ float number(float v) { return v; }
__device__ __forceinline__ float number(half v) { return __half2float(v); }
__device__ __forceinline__ float number(nv_bfloat16 v) { return __bfloat162float(v); }

template <class T, int VEC> struct alignas(VEC == 1 ? sizeof(T) : 16) Vector {
  T v[VEC];
};

template <class T, int N_TOK, int VEC>
__global__ void __launch_bounds__(128, N_TOK == 8 ? 3 : 4)
mul_mat_vec_f32(const T* __restrict__ w, const float* __restrict__ x, const float* __restrict__ add,
                float* __restrict__ y, int n_tok, int n_out, int n_in, int x_stride, int k_split, int add_stride) {
  constexpr int ROWS = 2;
  __shared__ float part[4][ROWS * N_TOK];
  const int lane = threadIdx.x, warp = threadIdx.y, groups = blockDim.y / k_split;
  const int slice = warp % k_split, row0 = (blockIdx.x * groups + warp / k_split) * ROWS;
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
    const int row = (blockIdx.x * groups + group) * ROWS + at / N_TOK;
    if (row >= n_out || t >= n_tok) continue;
    float total = add ? add[(size_t)t * add_stride + row] : 0.0f;
    for (int s = 0; s < k_split; s++) total += part[group * k_split + s][at];
    y[(size_t)t * n_out + row] = total;
  }
}
