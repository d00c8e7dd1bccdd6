// mul_mat_id_glu_q8_1: h[p,r] = act(gate[e,r] . x[p / x_div] (+ gate_add[e,r])) * (up[e,r] . x[p / x_div] (+ up_add[e,r])),
// cast to Q8_1 or, `fine`, to Q16_1, for few pairs p of a token and one of its experts e = ids[p]; weights quantised
// gate, up: rows of planes (quants/planes.cuh), an expert's n_ff rows at e * expert_rows, so that both may be halves of
// one tensor; adds f32 or null, laid out alike; x as in mul_mat_vec.cuh, without gaps, a row for x_div pairs; ids (n_pair)
// i32; y (n_pair, n_ff) as the next product takes it, in the form of mul_mat_vec.cuh that its weights want; n_ff % 32 == 0
// grid = (n_pair, n_ff / 32), block = (32, 8): a warp computes four rows of h, ROWS of them at a time
// memory-bound: a warp has the loads of 2 * ROWS chunks a lane in flight, twice that where Raw is small
#include "cast.cuh"
#include "glu.cuh"
#include "mul_mat_vec.cuh"

// The dot products of ROWS rows from `w` on with x, summed over the warp.
template <class Q, int ROWS>
__device__ __forceinline__ void dot_rows(const uint8_t* const (&rows)[ROWS], const uint8_t* x, int n_chunk, float (&sum)[ROWS]) {
  const int lane = threadIdx.x, n_block = n_chunk / Q::CHUNKS;
  const bool wide = n_chunk % 2 == 0;
  constexpr bool AHEAD = sizeof(typename Q::Raw) * ROWS <= 160;
  typename Q::Raw next[ROWS];
  const auto load = [&](int c) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) next[r] = Q::load(rows[r], n_block, c);
  };
#pragma unroll
  for (int r = 0; r < ROWS; r++) sum[r] = 0;
  if (AHEAD && lane < n_chunk) load(lane);
  for (int c = lane; c < n_chunk; c += 32) {
    if (!AHEAD) load(c);
    typename Q::Raw raw[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) raw[r] = next[r];
    if (AHEAD && c + 32 < n_chunk) load(c + 32);
    const Activation<Q::FINE> a = load_activations<Q::FINE>(x, n_chunk, c, wide);
#pragma unroll
    for (int r = 0; r < ROWS; r++) sum[r] += dot<Q>(Q::unpack(raw[r], c), a);
  }
#pragma unroll
  for (int r = 0; r < ROWS; r++) sum[r] = warp_sum(sum[r]);
}

template <class Q, int ROWS>
__global__ void __launch_bounds__(256, 1)
mul_mat_id_glu_q8_1(const uint8_t* __restrict__ gate, const uint8_t* __restrict__ up, const float* __restrict__ gate_add,
                    const float* __restrict__ up_add, const uint8_t* __restrict__ x, const int* __restrict__ ids,
                    uint8_t* __restrict__ y, int n_ff, int expert_rows, int n_chunk, int x_div, int fine, Glu glu) {
  __shared__ float h[32];
  const int pair = blockIdx.x, lane = threadIdx.x, warp = threadIdx.y;
  const size_t row_bytes = Q::row_bytes(n_chunk), first = (size_t)ids[pair] * expert_rows + blockIdx.y * 32 + warp * 4;
  const uint8_t* const x_row = x + pair / x_div * ((size_t)n_chunk * Activation<Q::FINE>::BYTES);
#pragma unroll 1
  for (int r0 = 0; r0 < 4; r0 += ROWS) {
    const uint8_t* rows[2 * ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      rows[2 * r] = gate + (first + r0 + r) * row_bytes;
      rows[2 * r + 1] = up + (first + r0 + r) * row_bytes;
    }
    float sum[2 * ROWS];
    dot_rows<Q>(rows, x_row, n_chunk, sum);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      if (lane != r) continue;
      const float g = sum[2 * r] + (gate_add ? gate_add[first + r0 + r] : 0.0f);
      const float u = sum[2 * r + 1] + (up_add ? up_add[first + r0 + r] : 0.0f);
      h[warp * 4 + r0 + r] = apply_glu(glu, g, u);
    }
  }
  __syncthreads();
  if (warp > 0) return;
  uint8_t* const row = y + pair * ((size_t)n_ff / 32 * (fine ? 72 : 40));
  fine ? store_block<true>(row, n_ff, blockIdx.y, h[lane]) : store_block<false>(row, n_ff, blockIdx.y, h[lane]);
}
