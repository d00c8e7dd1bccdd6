// mul_mat_vec_q8_1: y[t,r] = sum_k w[r,k] * x[t,k] (+ add[t,r]) for few tokens, w quantised, x cast to Q8_1 or Q16_1
// operands, block and bound: mul_mat_vec.cuh; y (n_tok, n_out) and x without gaps
// grid = n_out / (ROWS * groups), rounded up
#include "mul_mat_vec.cuh"

template <class Q, int N_TOK, int ROWS>
__global__ void __launch_bounds__(128, (PER_SM<Q, N_TOK>))
mul_mat_vec_q8_1(const uint8_t* __restrict__ w, const uint8_t* __restrict__ x, const float* __restrict__ add,
                 float* __restrict__ y, int n_tok, int n_out, int n_chunk, int k_split, int add_stride) {
  const size_t x_bytes = (size_t)n_chunk * Activation<Q::FINE>::BYTES;
  mul_mat_vec<Q, N_TOK, ROWS>(w, x, add, y, blockIdx.x, n_tok, n_out, n_chunk, k_split, x_bytes, n_out, add_stride);
}
