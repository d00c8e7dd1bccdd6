// mul_mat_vec.cuh: y[t,r] = sum_k w[r,k] * x[t,k] (+ add[t,r]) for few tokens, w quantised, x cast; what the
// kernels for one matrix, for chosen experts and for a matrix a head share
// w (n_out, n_chunk * 32) rows of planes (quants/planes.cuh); x (n_tok, n_chunk * 32), cast to Q16_1 where Q is FINE, else to
// Q8_1, x_bytes between rows: a row is int8 numbers, where FINE those of the low terms, then a (scale, scale * sum) pair of
// f32 for each 32 of them; y (n_tok, n_out) f32 with its row stride; add
// f32 or null, its row stride 0 where all tokens get the same row; N_TOK / 2 < n_tok <= N_TOK
// block = (32, groups * k_split <= 4): k_split neighbouring warps share ROWS rows; blocks are numbered by `unit`
// memory-bound: a warp has the loads of 2 * ROWS chunks a lane in flight and unpacks each weight once for all tokens
#pragma once
#include "quants/all.cuh"

// 32 bytes.
__device__ __forceinline__ void load_words(const uint8_t* at, bool wide, int (&q)[8]) {
  if (wide) {  // rows of whole pairs of blocks are 16-byte aligned
    const int4 a = *(const int4*)at, b = *((const int4*)at + 1);
    q[0] = a.x, q[1] = a.y, q[2] = a.z, q[3] = a.w, q[4] = b.x, q[5] = b.y, q[6] = b.z, q[7] = b.w;
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int2 a = *((const int2*)at + i);
      q[2 * i] = a.x, q[2 * i + 1] = a.y;
    }
  }
}
// Chunk c of a row.
template <bool FINE>
__device__ __forceinline__ Activation<FINE> load_activations(const uint8_t* x, int n_chunk, int c, bool wide) {
  Activation<FINE> a;
  load_words(x + (size_t)c * 32, wide, a.q);
  if constexpr (FINE) load_words(x + (size_t)(n_chunk + c) * 32, wide, a.low);
  a.scale = *((const float2*)(x + (size_t)n_chunk * (FINE ? 64 : 32)) + c);
  return a;
}

// Blocks that must fit a multiprocessor. From sm_100 on, three of 8 tokens and five of MXFP4 would spill a few registers.
template <class Q, int N_TOK, int ROWS>
constexpr int PER_SM = N_TOK == 1 ? 5 : N_TOK == 2 ? 4 : N_TOK == 4 ? (ROWS == 4 ? 3 : 4) : ROWS == 4 || __CUDA_ARCH__ >= 1000 ? 2 : 3;
template <> constexpr int PER_SM<MXFP4, 1, 4> = __CUDA_ARCH__ >= 1000 ? 4 : 5;

// Rows unit * groups * ROWS and following; the whole block calls it, once.
template <class Q, int N_TOK, int ROWS>
__device__ __forceinline__ void mul_mat_vec(
    const uint8_t* w, const uint8_t* x, const float* add, float* y, int unit, int n_tok, int n_out, int n_chunk,
    int k_split, int x_bytes, int y_stride, int add_stride) {
  __shared__ float part[4][ROWS * N_TOK];
  const int lane = threadIdx.x, warp = threadIdx.y, groups = blockDim.y / k_split;
  const int slice = warp % k_split, row0 = (unit * groups + warp / k_split) * ROWS;
  const int n_block = n_chunk / Q::CHUNKS, step = 32 * k_split;
  const size_t row_bytes = Q::row_bytes(n_chunk);
  const bool wide = n_chunk % 2 == 0;

  const uint8_t* rows[ROWS];
#pragma unroll
  for (int r = 0; r < ROWS; r++) rows[r] = w + min(row0 + r, n_out - 1) * row_bytes;
  float sum[ROWS][N_TOK] = {};
  // Types whose chunks take few registers are loaded one round ahead.
  constexpr bool AHEAD = sizeof(typename Q::Raw) <= 48 && (N_TOK <= 4 || ROWS == 4);
  typename Q::Raw next[ROWS];
  const auto load = [&](int c) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) next[r] = Q::load(rows[r], n_block, c);
  };
  int c = slice * 32 + lane;
  if (AHEAD && c < n_chunk) load(c);
  for (; c < n_chunk; c += step) {
    if (!AHEAD) load(c);
    typename Q::Raw raw[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) raw[r] = next[r];
    if (AHEAD && c + step < n_chunk) load(c + step);
    Chunk chunk[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) chunk[r] = Q::unpack(raw[r], c);
    const uint8_t* row = x;  // step by step: an offset a token would take registers
#pragma unroll
    for (int t = 0; t < N_TOK; t++) {
      const Activation<Q::FINE> a = load_activations<Q::FINE>(row, n_chunk, c, wide);
      if (t + 1 < n_tok) row += x_bytes;
#pragma unroll
      for (int r = 0; r < ROWS; r++) sum[r][t] += dot<Q>(chunk[r], a);
    }
  }

#pragma unroll
  for (int r = 0; r < ROWS; r++)
#pragma unroll
    for (int t = 0; t < N_TOK; t++) {
      const float total = warp_sum(sum[r][t]);
      if (lane == 0) part[warp][r * N_TOK + t] = total;
    }
  __syncthreads();
  for (int i = warp * 32 + lane; i < groups * ROWS * N_TOK; i += blockDim.y * 32) {
    const int group = i / (ROWS * N_TOK), at = i % (ROWS * N_TOK), t = at % N_TOK;
    const int row = (unit * groups + group) * ROWS + at / N_TOK;
    if (row >= n_out || t >= n_tok) continue;
    float total = add ? add[(size_t)t * add_stride + row] : 0.0f;
    for (int s = 0; s < k_split; s++) total += part[group * k_split + s][at];
    y[(size_t)t * y_stride + row] = total;
  }
}
