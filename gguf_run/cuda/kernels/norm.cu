// rms_norm_f32:      y[r,:] = x[r,:] * rsqrt(mean(x[r,:]^2) + eps)                            (arXiv:1910.07467)
// rms_norm_mul_f32:  y[r,:] = x[r,:] * rsqrt(mean(x[r,:]^2) + eps) * w
// norm_f32:          y[r,:] = (x[r,:] - mean(x[r,:])) * rsqrt(var(x[r,:]) + eps)              (arXiv:1607.06450)
// x (n_rows, n_col) f32 with strides (rows.cuh); w (n_col) f32; y (n_rows, n_col) f32 without gaps
// block = (32 * N_WARPS, rows), grid = ceil(n_rows / rows): N_WARPS warps a row; rows > 1 only for N_WARPS = 1
// latency-bound at few rows, memory-bound at many: reads x once from memory, again from L1; writes y once
//
// rms_norm_mul_rope_f32: the heads of x (n_tok, n_head, n_col), normalised, times w, rotated (rope.cuh)
// strides of x are those of tokens (outer) and heads (inner); positions (n_tok) i32; factors (n_dims / 2) f32 or null
// block = 128: a warp a head; grid = (n_tok, ceil(n_head / heads)): each block computes the turns of its token once
// shared memory = n_dims / 2 float2 for the turns and four heads of n_col floats
#include "ptx.cuh"
#include "rope.cuh"
#include "rows.cuh"

template <int N_WARPS, int WIDTH>
__device__ __forceinline__ float rms_factor(const float* row, int n_col, float eps) {
  float sum = 0;
#pragma unroll 4
  for (int i = threadIdx.x % (32 * N_WARPS); i < n_col / WIDTH; i += 32 * N_WARPS) {
    const Floats<WIDTH> x = load<WIDTH>(row, i);
#pragma unroll
    for (int k = 0; k < WIDTH; k++) sum += x.v[k] * x.v[k];
  }
  return rsqrtf(block_sum<N_WARPS>(sum) / n_col + eps);
}

template <int N_WARPS, int WIDTH>
__global__ void __launch_bounds__(N_WARPS == 32 ? 1024 : 256) rms_norm_f32(
    const float* __restrict__ x, float* __restrict__ y, int n_rows, int n_col, int n_inner, Strides strides, float eps) {
  const int row = blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= n_rows) return;
  x += row_start(row, n_inner, strides);
  y += (long long)row * n_col;
  const float factor = rms_factor<N_WARPS, WIDTH>(x, n_col, eps);
#pragma unroll 4
  for (int i = threadIdx.x; i < n_col / WIDTH; i += blockDim.x) {
    Floats<WIDTH> v = load<WIDTH>(x, i);
#pragma unroll
    for (int k = 0; k < WIDTH; k++) v.v[k] *= factor;
    store<WIDTH>(y, i, v);
  }
}

template <int N_WARPS, int WIDTH>
__global__ void __launch_bounds__(N_WARPS == 32 ? 1024 : 256) rms_norm_mul_f32(
    const float* __restrict__ x, const float* __restrict__ w, float* __restrict__ y, int n_rows, int n_col, int n_inner,
    Strides strides, float eps) {
  const int row = blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= n_rows) return;
  x += row_start(row, n_inner, strides);
  y += (long long)row * n_col;
  const float factor = rms_factor<N_WARPS, WIDTH>(x, n_col, eps);
#pragma unroll 4
  for (int i = threadIdx.x; i < n_col / WIDTH; i += blockDim.x) {
    Floats<WIDTH> v = load<WIDTH>(x, i);
    const Floats<WIDTH> weight = load<WIDTH>(w, i);
#pragma unroll
    for (int k = 0; k < WIDTH; k++) v.v[k] = v.v[k] * factor * weight.v[k];
    store<WIDTH>(y, i, v);
  }
}

template <int N_WARPS, int WIDTH>
__global__ void __launch_bounds__(N_WARPS == 32 ? 1024 : 256) norm_f32(
    const float* __restrict__ x, float* __restrict__ y, int n_rows, int n_col, int n_inner, Strides strides, float eps) {
  const int row = blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= n_rows) return;
  x += row_start(row, n_inner, strides);
  y += (long long)row * n_col;
  float sum = 0;
#pragma unroll 4
  for (int i = threadIdx.x; i < n_col / WIDTH; i += blockDim.x) {
    const Floats<WIDTH> v = load<WIDTH>(x, i);
#pragma unroll
    for (int k = 0; k < WIDTH; k++) sum += v.v[k];
  }
  const float mean = block_sum<N_WARPS>(sum) / n_col;
  // The mean is taken off before squaring: E[x^2] - E[x]^2 would cancel where the mean is large.
  float squares = 0;
#pragma unroll 4
  for (int i = threadIdx.x; i < n_col / WIDTH; i += blockDim.x) {
    const Floats<WIDTH> v = load<WIDTH>(x, i);
#pragma unroll
    for (int k = 0; k < WIDTH; k++) squares += (v.v[k] - mean) * (v.v[k] - mean);
  }
  const float factor = rsqrtf(block_sum<N_WARPS>(squares) / n_col + eps);
#pragma unroll 4
  for (int i = threadIdx.x; i < n_col / WIDTH; i += blockDim.x) {
    Floats<WIDTH> v = load<WIDTH>(x, i);
#pragma unroll
    for (int k = 0; k < WIDTH; k++) v.v[k] = (v.v[k] - mean) * factor;
    store<WIDTH>(y, i, v);
  }
}

template <int WIDTH>
__global__ void __launch_bounds__(128) rms_norm_mul_rope_f32(
    const float* __restrict__ x, const float* __restrict__ w, const int* __restrict__ positions,
    const float* __restrict__ factors, float* __restrict__ y, Rope rope, int n_head, int n_col, int heads,
    Strides strides, float eps) {
  extern __shared__ float2 turns[];
  const int tok = blockIdx.x, first = blockIdx.y * heads, lane = threadIdx.x % 32;
  float* scaled = reinterpret_cast<float*>(turns + rope.n_dims / 2) + threadIdx.x / 32 * n_col;
  rope_turns(turns, rope, positions[tok], factors);
  __syncthreads();
  for (int head = first + threadIdx.x / 32; head < min(first + heads, n_head); head += 4) {
    const float* row = x + tok * strides.outer + head * strides.inner;
    const float factor = rms_factor<1, WIDTH>(row, n_col, eps);
    for (int i = lane; i < n_col; i += 32) scaled[i] = row[i] * factor * w[i];
    __syncwarp();
    for (int i = lane; i < n_col; i += 32) y[((long long)tok * n_head + head) * n_col + i] = rope_element(scaled, i, rope, turns);
    __syncwarp();  // the next head is written over this one
  }
}
