// mul_mat_mma: y[t,r] = sum_k w[r,k] * x[t,k] (+ add[t,r]) for many tokens, on tensor cores
// operands, block and bound: mul_mat_mma.cuh; x (n_tok, n_chunk * 32), y (n_tok, n_out)
// grid = (n_out / BM, n_tok / BN, n_split), the first two rounded up; with n_split > 1 a block sums its share of the steps
// and writes it to `partial` (n_split, n_tok, n_out), which mul_mat_sum adds up
#include "mul_mat_mma.cuh"

struct Consecutive {
  int first, n_tok;
  static constexpr bool RAGGED = false;
  __device__ __forceinline__ int x_row(int i) const { return first + i < n_tok ? first + i : -1; }
  __device__ __forceinline__ int y_row(int i) const { return x_row(i); }
};

template <class Q, int BM, int BN, int WM, int WN>
__global__ void __launch_bounds__((MAX_THREADS<Q, BM>), (BLOCKS_PER_SM<Q, BM>))
mul_mat_mma(const uint8_t* __restrict__ w, const half* __restrict__ x, const float* __restrict__ add, float* __restrict__ y,
            float* __restrict__ partial, int n_tok, int n_out, int n_chunk, int add_stride) {
  const Consecutive tokens = {(int)blockIdx.y * BN, n_tok};
  const long long n_step = (n_chunk + 1) / 2;
  const int first = (int)(n_step * blockIdx.z / gridDim.z), last = (int)(n_step * (blockIdx.z + 1) / gridDim.z);
  const bool whole = gridDim.z == 1;
  mul_mat_tile<Q, BM, BN, WM, WN>(w, x, whole ? add : nullptr, whole ? y : partial + (size_t)blockIdx.z * n_tok * n_out,
                                  tokens, n_tok, blockIdx.x * BM, n_out, n_chunk, first, last, add_stride);
}

// mul_mat_sum: y[t,r] = sum_s partial[s,t,r] (+ add[t,r]), in the order of s
// partial (n_split, n_tok, n_out), y (n_tok, n_out), add (n_tok, n_out) with its row stride, or null; all f32
// grid = (n_out / 256 rounded up, n_tok), block = 256
// memory-bound
extern "C" __global__ void __launch_bounds__(256)
mul_mat_sum(const float* __restrict__ partial, const float* __restrict__ add, float* __restrict__ y, int n_split,
            int n_tok, int n_out, int add_stride) {
  const int r = blockIdx.x * 256 + threadIdx.x, t = blockIdx.y;
  if (r >= n_out) return;
  float total = add ? add[(size_t)t * add_stride + r] : 0.0f;
  for (int s = 0; s < n_split; s++) total += partial[((size_t)s * n_tok + t) * n_out + r];
  y[(size_t)t * n_out + r] = total;
}
