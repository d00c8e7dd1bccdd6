// norm_router_f32: one token's norm and its router
//   v = x * rsqrt(mean(x^2) + eps) * norm;  l_e = w_e v (+ add_e)
// y = v where it is wanted, and v cast to Q8_1 or, `fine`, Q16_1 as products of few tokens take it, where that is
// x, norm (n) f32, w (n_row, n) f32, all 16-byte aligned, n % 32 == 0, n <= 1024 LOADS; add (n_row) f32 or null; y (n) f32 or
// null; cast null or a row of mul_mat_vec.cuh; l (n_row) f32
// grid = max(n_row, n / 256), block = 256: a block computes one number of l and casts 256 of v. Launched with pdl=True; its
// weights are in registers before the wait
// latency-bound: two sums over a block
#include "cast.cuh"

template <int LOADS>
__global__ void __launch_bounds__(256, LOADS > 2 ? 2 : 3)
norm_router_f32(const float* __restrict__ x, const float* __restrict__ norm, const float* __restrict__ w, const float* __restrict__ add,
                float* __restrict__ y, uint8_t* __restrict__ cast, float* __restrict__ l, int n_row, int n, float eps, int fine) {
  __shared__ float2 part[8];
  pdl_trigger();
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, e = blockIdx.x, own = blockIdx.x * 256 + threadIdx.x;
  const float4* const router = (const float4*)(w + (size_t)min(e, n_row - 1) * n);
  const float4 zero = make_float4(0, 0, 0, 0);
  float4 scaled[LOADS];
#pragma unroll
  for (int j = 0; j < LOADS; j++) {
    const int i = threadIdx.x + j * 256;
    const float4 a = i < n / 4 ? __ldcg(router + i) : zero, b = i < n / 4 ? __ldcg((const float4*)norm + i) : zero;
    scaled[j] = make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
  }
  const float own_add = add && e < n_row ? __ldcg(add + e) : 0.0f, own_norm = own < n ? __ldcg(norm + own) : 0.0f;
  pdl_wait();

  float4 v[LOADS];
#pragma unroll
  for (int j = 0; j < LOADS; j++) v[j] = threadIdx.x + j * 256 < n / 4 ? __ldcg((const float4*)x + threadIdx.x + j * 256) : zero;
  const float own_x = own < n ? __ldcg(x + own) : 0.0f;
  float squares = 0, product = 0;
#pragma unroll
  for (int j = 0; j < LOADS; j++) {
    squares += v[j].x * v[j].x + v[j].y * v[j].y + v[j].z * v[j].z + v[j].w * v[j].w;
    product += v[j].x * scaled[j].x + v[j].y * scaled[j].y + v[j].z * scaled[j].z + v[j].w * scaled[j].w;
  }
#pragma unroll
  for (int step = 16; step; step /= 2) {
    squares += __shfl_xor_sync(~0u, squares, step);
    product += __shfl_xor_sync(~0u, product, step);
  }
  if (lane == 0) part[warp] = make_float2(squares, product);
  __syncthreads();
  squares = product = 0;
#pragma unroll
  for (int i = 0; i < 8; i++) squares += part[i].x, product += part[i].y;
  const float factor = rsqrtf(squares / n + eps);
  if (threadIdx.x == 0 && e < n_row) l[e] = product * factor + own_add;
  if (own < n) {
    const float value = own_x * factor * own_norm;
    if (y) y[own] = value;
    if (cast) fine ? store_block<true>(cast, n, own / 32, value) : store_block<false>(cast, n, own / 32, value);
  }
}
