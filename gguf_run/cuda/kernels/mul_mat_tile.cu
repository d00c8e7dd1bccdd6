// mul_mat_f32: y[t,r] = sum_k w[r,k] * x[t,k] (+ add[t,r]), w of T = float, half or nv_bfloat16, any shape
// operands, block and bound: mul_mat_tile.cuh; y (n_tok, n_out) without gaps
// grid = (n_out / 64, n_tok / 128, n_split), the first two rounded up; with n_split > 1 a block sums its share of n_in and
// writes it to `partial` (n_split, n_tok, n_out), which mul_mat_sum adds up
#include "mul_mat_tile.cuh"

template <class T>
__global__ void __launch_bounds__(256, 2)
mul_mat_f32(const T* __restrict__ w, const float* __restrict__ x, const float* __restrict__ add, float* __restrict__ y,
            float* __restrict__ partial, int n_tok, int n_out, int n_in, int x_stride, int add_stride) {
  const int share = (n_in + gridDim.z - 1) / gridDim.z, first = blockIdx.z * share;
  const bool whole = gridDim.z == 1;
  mul_mat_tile<T>(w, x, whole ? add : nullptr, whole ? y : partial + (size_t)blockIdx.z * n_tok * n_out, n_tok, n_out, n_in,
                  first, min(first + share, n_in), x_stride, n_out, add_stride);
}
