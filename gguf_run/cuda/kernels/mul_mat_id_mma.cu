// mul_mat_id_mma: y[p,r] = sum_k w[e,r,k] * x[p / x_div,k] (+ add[e,r]) for many pairs p of a token and one of its experts
// e, on tensor cores
// w (n_expert, n_out, n_chunk * 32); tiles (n_tile, 1 + size) i32: an expert and its pairs, as moe_group leaves them; x
// (n_x_row, n_chunk * 32), a row for x_div pairs; add (n_expert, n_out) f32 or null; y (n_pair, n_out) f32; the rest, block
// and bound: mul_mat_mma.cuh
// grid = (n_out / BM, rounded up; n_tile; size / BN): blocks without a pair end at once
#include "mul_mat_mma.cuh"

struct Pairs {
  const int* pairs;
  int x_div;
  static constexpr bool RAGGED = true;
  __device__ __forceinline__ int x_row(int i) const { return y_row(i) < 0 ? -1 : y_row(i) / x_div; }
  __device__ __forceinline__ int y_row(int i) const { return __ldg(pairs + i); }
};

// Rows from all over x take four more registers than neighbours do: where two large tiles an SM would spill, one.
template <class Q> constexpr bool ALONE = SPILLS<Q> || FULL<Q>;
template <> constexpr bool ALONE<F16> = true;
template <> constexpr bool ALONE<BF16> = true;
template <> constexpr bool ALONE<IQ2_XXS> = true;

template <class Q, int BM, int BN, int WM, int WN>
__global__ void __launch_bounds__((MAX_THREADS<Q, BM>), (BM > 64 && ALONE<Q> ? 1 : BLOCKS_PER_SM<Q, BM>))
mul_mat_id_mma(const uint8_t* __restrict__ w, const half* __restrict__ x, const int* __restrict__ tiles,
               const float* __restrict__ add, float* __restrict__ y, int n_x_row, int n_out, int n_chunk, int x_div,
               int size) {
  const int* const tile = tiles + (size_t)blockIdx.y * (1 + size);
  const Pairs tokens = {tile + 1 + blockIdx.z * BN, x_div};
  if (tokens.y_row(0) < 0) return;
  const size_t first = (size_t)__ldg(tile) * n_out;
  mul_mat_tile<Q, BM, BN, WM, WN>(w + first * Q::row_bytes(n_chunk), x, add ? add + first : nullptr, y, tokens, n_x_row,
                                  blockIdx.x * BM, n_out, n_chunk, 0, (n_chunk + 1) / 2, 0);
}
