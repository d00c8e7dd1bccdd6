// mul_mat_batched_mma: y[t,h,r] = sum_k w[h,r,k] * x[t,h,k] for many tokens, on tensor cores
// w (n_head, n_out, n_chunk * 32); x (n_tok, n_head, n_chunk * 32) and y (n_tok, n_head, n_out) without gaps; the rest,
// block and bound: mul_mat_mma.cuh
// grid = (n_out / BM, n_tok / BN, both rounded up; n_head)
#include "mul_mat_mma.cuh"

struct Heads {
  int first, n_tok, n_head, head;
  static constexpr bool RAGGED = false;
  __device__ __forceinline__ int x_row(int i) const { return first + i < n_tok ? (first + i) * n_head + head : -1; }
  __device__ __forceinline__ int y_row(int i) const { return x_row(i); }
};

template <class Q, int BM, int BN, int WM, int WN>
__global__ void __launch_bounds__((MAX_THREADS<Q, BM>), (BLOCKS_PER_SM<Q, BM>))
mul_mat_batched_mma(const uint8_t* __restrict__ w, const half* __restrict__ x, float* __restrict__ y, int n_tok, int n_out,
                    int n_chunk) {
  const Heads tokens = {(int)blockIdx.y * BN, n_tok, (int)gridDim.z, (int)blockIdx.z};
  mul_mat_tile<Q, BM, BN, WM, WN>(w + (size_t)tokens.head * n_out * Q::row_bytes(n_chunk), x, nullptr, y, tokens,
                                  n_tok * tokens.n_head, blockIdx.x * BM, n_out, n_chunk, 0, (n_chunk + 1) / 2, 0);
}
