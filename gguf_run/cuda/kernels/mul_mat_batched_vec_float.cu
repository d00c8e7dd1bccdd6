// mul_mat_batched_vec_f32: y[t,h,r] = sum_k w[h,r,k] * x[t,h,k] for few tokens, w of T = float, half or nv_bfloat16
// w (n_head, n_out, n_in); x (n_tok, n_head, n_in) f32 with strides (rows.cuh); y (n_tok, n_head, n_out) f32 without gaps;
// the rest, block and bound: mul_mat_vec_float.cuh
// grid = (n_out / (2 * groups), rounded up; n_head)
#include "mul_mat_vec_float.cuh"
#include "rows.cuh"

template <class T, int N_TOK, int VEC>
__global__ void __launch_bounds__(128, N_TOK == 8 ? 2 : 4)
mul_mat_batched_vec_f32(const T* __restrict__ w, const float* __restrict__ x, float* __restrict__ y, int n_tok,
                        int n_out, int n_in, int k_split, Strides of_x) {
  const int h = blockIdx.y;
  mul_mat_vec<T, N_TOK, VEC>(w + (size_t)h * n_out * n_in, x + h * of_x.inner, nullptr, y + (size_t)h * n_out,
                             blockIdx.x, n_tok, n_out, n_in, k_split, of_x.outer, gridDim.y * n_out, 0);
}
