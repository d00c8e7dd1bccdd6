// mul_mat_id_vec_q8_1: y[p,r] = sum_k w[e,r,k] * x[p / x_div,k] (+ add[e,r]), e = ids[p], for few pairs p of a token and
// one of its experts; w quantised, x cast to Q8_1 or Q16_1
// w (n_expert, n_out, n_chunk * 32); ids (n_pair) i32; x without gaps, a row for x_div pairs; add (n_expert, n_out) f32
// or null; y (n_pair, n_out) f32; the rest, block and bound: mul_mat_vec.cuh
// grid = (n_pair, n_out / (ROWS * groups), rounded up): every pair has its own blocks
#include "mul_mat_vec.cuh"

template <class Q, int ROWS>
__global__ void __launch_bounds__(128, 5)
mul_mat_id_vec_q8_1(const uint8_t* __restrict__ w, const uint8_t* __restrict__ x, const int* __restrict__ ids,
                    const float* __restrict__ add, float* __restrict__ y, int n_out, int n_chunk, int k_split, int x_div) {
  const int pair = blockIdx.x;
  const size_t first = (size_t)ids[pair] * n_out, x_bytes = (size_t)n_chunk * Activation<Q::FINE>::BYTES;
  mul_mat_vec<Q, 1, ROWS>(w + first * Q::row_bytes(n_chunk), x + pair / x_div * x_bytes, add ? add + first : nullptr,
                          y + (size_t)pair * n_out, blockIdx.y, 1, n_out, n_chunk, k_split, 0, 0, 0);
}
