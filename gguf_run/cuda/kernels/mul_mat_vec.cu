// mul_mat_vec_q8_1: y[t,h,r] = sum_k w[h,r,k] * x[t,h,k] (+ add[t,r]) for few tokens, w quantised, x cast to Q8_1 or Q16_1
// w (n_head, n_out, n_chunk * 32); x (n_tok, n_head, n_chunk * 32) and y (n_tok, n_head, n_out) without gaps; one matrix is
// one head, and that alone may have add; the rest, block and bound: mul_mat_vec.cuh
// grid = (n_out / (ROWS * groups), rounded up; n_head)
#include "mul_mat_vec.cuh"

template <class Q, int N_TOK, int ROWS>
__global__ void __launch_bounds__(128, (PER_SM<Q, N_TOK, ROWS>))
mul_mat_vec_q8_1(const uint8_t* __restrict__ w, const uint8_t* __restrict__ x, const float* __restrict__ add,
                 float* __restrict__ y, int n_tok, int n_out, int n_chunk, int k_split, int add_stride) {
  const int h = blockIdx.y, n_head = gridDim.y;
  const int x_bytes = n_chunk * Activation<Q::FINE>::BYTES;
  mul_mat_vec<Q, N_TOK, ROWS>(w + (size_t)h * n_out * Q::row_bytes(n_chunk), x + (size_t)h * x_bytes, add, y + (size_t)h * n_out,
                              blockIdx.x, n_tok, n_out, n_chunk, k_split, n_head * x_bytes, n_head * n_out, add_stride);
}
