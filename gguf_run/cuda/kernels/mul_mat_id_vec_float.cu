// mul_mat_id_vec_f32: y[p,r] = sum_k w[e,r,k] * x[p,k] (+ add[e,r]), e = ids[p], for pairs p of a token and one of its
// experts; w of T = float, half or nv_bfloat16
// w (n_expert, n_out, n_in); ids (n_pair) i32; x (n_pair, n_in) f32 with strides (rows.cuh; the inner one is 0 where the
// n_used pairs of a token share a row); add (n_expert, n_out) f32 or null; y (n_pair, n_out) f32; the rest, block and
// bound: mul_mat_vec_float.cuh
// grid = (n_pair, n_out / (2 * groups), rounded up): every pair has its own blocks
#include "mul_mat_vec_float.cuh"
#include "rows.cuh"

template <class T, int VEC>
__global__ void __launch_bounds__(128, 4)
mul_mat_id_vec_f32(const T* __restrict__ w, const float* __restrict__ x, const int* __restrict__ ids,
                   const float* __restrict__ add, float* __restrict__ y, int n_out, int n_in, int k_split, int n_used,
                   Strides of_x) {
  const int pair = blockIdx.x;
  const size_t first = (size_t)ids[pair] * n_out;
  mul_mat_vec<T, 1, VEC>(w + first * n_in, x + row_start(pair, n_used, of_x), add ? add + first : nullptr,
                         y + (size_t)pair * n_out, blockIdx.y, 1, n_out, n_in, k_split, 0, 0, 0);
}
