// log_prob_parts_f32: parts[r,p] = (m, l) of part p of the columns of x[r,:]: m their largest, l the sum of exp(x - m)
// log_prob_f32: y[r] = x[r,ids[r]] - log(sum over all columns of exp(x[r,:])), from these parts; NaN where ids[r] < 0
// x (n_rows, n_col) f32 with a row stride; ids (n_rows) i32; parts (n_rows, n_part) pairs of f32; y (n_rows) f32
// log_prob_parts_f32: grid = (n_part, n_rows), block = 256, a column a thread at a time; log_prob_f32: grid = n_rows,
// block = 32
// memory-bound: reads x once (logits that a product has just written: from L2)
#include "ptx.cuh"

__device__ __forceinline__ float finite(float m) { return m == __int_as_float(0xff800000) ? 0.0f : m; }

extern "C" __global__ void __launch_bounds__(256) log_prob_parts_f32(
    const float* __restrict__ x, float2* __restrict__ parts, int n_col, int row_stride) {
  x += (long long)blockIdx.y * row_stride;
  const int each = (n_col + gridDim.x - 1) / gridDim.x, begin = blockIdx.x * each, end = min(n_col, begin + each);
  float m = __int_as_float(0xff800000);
#pragma unroll 4
  for (int i = begin + threadIdx.x; i < end; i += 256) m = fmaxf(m, x[i]);
  m = block_max<8>(m);
  float l = 0;
#pragma unroll 4
  for (int i = begin + threadIdx.x; i < end; i += 256) l += expf(x[i] - finite(m));
  l = block_sum<8>(l);
  if (threadIdx.x == 0) parts[(long long)blockIdx.y * gridDim.x + blockIdx.x] = make_float2(m, l);
}

extern "C" __global__ void __launch_bounds__(32) log_prob_f32(
    const float* __restrict__ x, const int* __restrict__ ids, const float2* __restrict__ parts, float* __restrict__ y,
    int n_part, int row_stride) {
  const int row = blockIdx.x;
  parts += (long long)row * n_part;
  float top = __int_as_float(0xff800000);
  for (int i = threadIdx.x; i < n_part; i += 32) top = fmaxf(top, parts[i].x);
  top = finite(warp_max(top));
  float l = 0;
  for (int i = threadIdx.x; i < n_part; i += 32) l += parts[i].y * expf(finite(parts[i].x) - top);
  l = warp_sum(l);
  const int id = ids[row];
  const float nan = __int_as_float(0x7fc00000);
  if (threadIdx.x == 0) y[row] = id < 0 ? nan : x[(long long)row * row_stride + id] - top - logf(l);
}
