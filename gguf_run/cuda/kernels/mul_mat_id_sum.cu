// mul_mat_id_sum_q8_1: y[t,r] = sum_j weights[t,j] * (w[e,r] . x[t,j] (+ add[e,r])) (+ residual[t,r]), e = ids[t,j], in the
// order of j, for few tokens t; w quantised, x cast
// w (n_expert, n_out, n_chunk * 32): rows of planes (quants/planes.cuh); add (n_expert, n_out) f32 or null; x (n_tok,
// n_used, n_chunk * 32) as in mul_mat_vec.cuh, without gaps; ids (n_tok, n_used) i32; weights (n_tok, n_used) f32;
// residual f32 with its row stride, or null; y (n_tok, n_out) f32
// grid = (n_out / ROWS, rounded up; n_tok), block = (32, n_used * k_split <= 16): k_split neighbouring warps share an
// expert's rows along n_in, eight lanes a row
// memory-bound: experts' rows are often short, so four of them lie side by side in a warp
#include "mul_mat_vec.cuh"

constexpr int LANES = 8, MAX_WARPS = 16;

template <class Q, int ROWS>
__global__ void __launch_bounds__(512, 1)
mul_mat_id_sum_q8_1(const uint8_t* __restrict__ w, const float* __restrict__ add, const uint8_t* __restrict__ x,
                    const int* __restrict__ ids, const float* __restrict__ weights, const float* __restrict__ residual,
                    float* __restrict__ y, int n_out, int n_chunk, int k_split, int residual_stride) {
  constexpr int SIDE = 32 / LANES, PASSES = ROWS / SIDE;
  __shared__ float part[MAX_WARPS][ROWS];
  const int lane = threadIdx.x, warp = threadIdx.y, t = blockIdx.y, n_used = blockDim.y / k_split;
  const int j = warp / k_split, slice = warp % k_split, row0 = blockIdx.x * ROWS + lane / LANES;
  const int pair = t * n_used + j, n_block = n_chunk / Q::CHUNKS;
  const size_t row_bytes = Q::row_bytes(n_chunk);
  const uint8_t* const matrix = w + (size_t)ids[pair] * n_out * row_bytes;
  const uint8_t* const x_row = x + pair * ((size_t)n_chunk * Activation<Q::FINE>::BYTES);
  const bool wide = n_chunk % 2 == 0;
  // What the ends of the sums need is asked for before their beginnings.
  const float weight = weights[pair];
  const int row = blockIdx.x * ROWS + warp * 32 + lane;
  const bool ends = warp * 32 + lane < ROWS && row < n_out;
  const float rest = ends && residual ? residual[(size_t)t * residual_stride + row] : 0.0f;

  const uint8_t* rows[PASSES];
#pragma unroll
  for (int i = 0; i < PASSES; i++) rows[i] = matrix + min(row0 + i * SIDE, n_out - 1) * row_bytes;
  float sum[PASSES] = {};
#pragma unroll 3
  for (int c = slice * LANES + lane % LANES; c < n_chunk; c += LANES * k_split) {
    typename Q::Raw raw[PASSES];
#pragma unroll
    for (int i = 0; i < PASSES; i++) raw[i] = Q::load(rows[i], n_block, c);
    const Activation<Q::FINE> a = load_activations<Q::FINE>(x_row, n_chunk, c, wide);
#pragma unroll
    for (int i = 0; i < PASSES; i++) sum[i] += dot<Q>(Q::unpack(raw[i], c), a);
  }
#pragma unroll
  for (int i = 0; i < PASSES; i++) {
    const float total = warp_sum<LANES>(sum[i]);
    const int r = row0 + i * SIDE;
    const float bias = add && slice == 0 && r < n_out ? add[(size_t)ids[pair] * n_out + r] : 0.0f;
    if (lane % LANES == 0) part[warp][i * SIDE + lane / LANES] = weight * (total + bias);
  }
  __syncthreads();
  if (!ends) return;
  float total = 0;
  for (int w = 0; w < n_used * k_split; w++) total += part[w][warp * 32 + lane];
  y[(size_t)t * n_out + row] = total + rest;
}
