// flash_attn_wgmma.cuh: what flash_attn_wgmma.cu multiplies: a warpgroup's 64 query rows by tiles of keys and of values, the softmax in
// between, and its results as the next product takes them.
#pragma once
#include <cuda_fp16.h>

#include "flash_attn.cuh"
#include "tiles.cuh"
#include "wgmma.cuh"

template <int D_K_, int D_V_, int KEYS_> struct Wide {
  static constexpr int D_K = D_K_, D_V = D_V_, KEYS = KEYS_, ROWS = 128, COPYING = 128, MULTIPLYING = 256;
  static constexpr int SOONER = KEYS / 2;  // keys of a tile whose weights are made while sums are still multiplied
  static constexpr int PARTS_K = (D_K + 63) / 64, PARTS_V = (D_V + 63) / 64;  // of 64 columns
  static constexpr int TILE = KEYS * 128, TILE_Q = ROWS * 128;                 // bytes of a part
  static constexpr int SUMS = D_V > 128 ? D_V / 128 : 1, SUM_DIMS = D_V / SUMS;
  static constexpr int STAGES_K = 2, STAGES_V = PARTS_K * TILE_Q + (2 * PARTS_K + 3 * PARTS_V) * TILE > 200 << 10 ? 2 : 3;
  static constexpr int SHARED = PARTS_K * TILE_Q + (STAGES_K * PARTS_K + STAGES_V * PARTS_V) * TILE;
};

// What all lanes of a warp have alike, so that the compiler knows.
__device__ __forceinline__ unsigned uniform(unsigned x) { return __shfl_sync(~0u, x, 0); }

// 2^x; results below 2^-126 are zero.
__device__ __forceinline__ float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// A thread's two rows: the largest score so far, this lane's part of the sum of weights, sums of weighted values; the scores and
// then weights of a tile, the weights as f16 pairs.
template <class S> struct Rows2 {
  float m[2], l[2], sum[S::SUMS][S::SUM_DIMS / 2], score[S::KEYS / 2];
  unsigned weight[S::KEYS / 16][4];

  __device__ __forceinline__ Rows2() : m{negative_infinity(), negative_infinity()}, l{0, 0}, sum{} {}

  // Before what is multiplied next; no register that takes part is touched until it is waited for.
  __device__ __forceinline__ void begin() {
    wgmma_hold(score);
#pragma unroll
    for (int i = 0; i < S::SUMS; i++) wgmma_hold(sum[i]);
    wgmma_fence();
  }
  // Starts q k.
  __device__ __forceinline__ void multiply_keys(unsigned queries, unsigned keys) {
#pragma unroll
    for (int k = 0; k < S::D_K / 16; k++)
      wgmma_nk(score, queries + wgmma_offset(k / 4 * S::TILE_Q + k % 4 * 32), keys + wgmma_offset(k / 4 * S::TILE + k % 4 * 32), k > 0);
    wgmma_commit();
  }
  // Starts the sums of the values that `weight` weighs.
  __device__ __forceinline__ void add_values(unsigned values) {
#pragma unroll
    for (int k = 0; k < S::KEYS / 16; k++)
#pragma unroll
      for (int i = 0; i < S::SUMS; i++) wgmma_kn(sum[i], weight[k], values + wgmma_offset(i * 2 * S::TILE + k * 2048));
    wgmma_commit();
  }
  template <int N> __device__ __forceinline__ void wait_scores() {
    wgmma_wait<N>();
    wgmma_hold(score);
  }
  __device__ __forceinline__ void wait_sums() {
    wgmma_wait<0>();
#pragma unroll
    for (int i = 0; i < S::SUMS; i++) wgmma_hold(sum[i]);
  }
  // The largest scores; what the sums so far must be multiplied by.
  __device__ __forceinline__ void find_top(float scale, float (&base)[2], float (&shrink)[2]) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float tops[4] = {m[r], m[r], m[r], m[r]};  // four chains, for a result is long in coming
#pragma unroll
      for (int n = 0; n < S::KEYS / 8; n++) tops[n % 4] = fmaxf(tops[n % 4], fmaxf(score[4 * n + 2 * r], score[4 * n + 2 * r + 1]));
      const float top = warp_max<4>(fmaxf(fmaxf(tops[0], tops[1]), fmaxf(tops[2], tops[3])));
      base[r] = top == negative_infinity() ? 0 : top * scale;
      shrink[r] = power_of_two(m[r] * scale - base[r]);
      m[r] = top;
      l[r] *= shrink[r];
    }
  }
  // Scores of keys FROM to TO become weights 2^(scale (score - m)).
  template <int FROM, int TO> __device__ __forceinline__ void weigh(float scale, const float (&base)[2]) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float total = 0;
#pragma unroll
      for (int n = FROM / 8; n < TO / 8; n++)
#pragma unroll
        for (int e = 2 * r; e < 2 * r + 2; e++) total += score[4 * n + e] = power_of_two(score[4 * n + e] * scale - base[r]);
      l[r] += total;
    }
  }
  // The weights so far are made before what follows, which the compiler would like to do first: a store that depends on all of them,
  // and never happens, since no sum of weights is negative.
  __device__ __forceinline__ void have_weights(unsigned char* anywhere) const {
    asm volatile("{\n.reg .pred p;\nsetp.lt.f32 p, %0, 0f00000000;\n@p st.volatile.shared.f32 [%1], %0;\n}" ::"f"(l[0] + l[1]),
                 "r"(shared_address(anywhere)) : "memory");
  }
  __device__ __forceinline__ void shrink_sums(const float (&shrink)[2]) {
#pragma unroll
    for (int i = 0; i < S::SUMS; i++)
#pragma unroll
      for (int n = 0; n < S::SUM_DIMS / 2; n++) sum[i][n] *= shrink[n / 2 % 2];
  }
  __device__ __forceinline__ void pack_weights() {
#pragma unroll
    for (int k = 0; k < S::KEYS / 16; k++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const __half2 h = __floats2half2_rn(score[8 * k + 2 * i], score[8 * k + 2 * i + 1]);
        weight[k][i] = *(const unsigned*)&h;
      }
  }
};

// A row's results as the next product takes them: its head's columns of a row of F16_TILES. All rows have the factor 1: results
// are means of values, which are f16 themselves. Of two lanes with neighbouring columns 2 m, 2 m + 1 and 2 m + 2, 2 m + 3 one
// writes the pieces of the even columns, the other those of the odd ones. The whole warp calls it, four lanes a row.
template <class S>
__device__ __forceinline__ void store_tiles(void* out, const Attention& a, const Tile& t, int row, const Rows2<S>& x, int r, float factor) {
  constexpr int COLUMNS = S::D_V < 128 ? S::D_V : 128, HALVES = COLUMNS / 32;  // of 128 columns; pairs of numbers of a piece
  const int m = threadIdx.x % 4, odd = m % 2;
  const bool inside = row < t.n;
  const int tok = inside ? t.token(row) : 0, head = inside ? t.head(row) : 0;
#pragma unroll
  for (int group = 0; group < S::D_V / COLUMNS; group++)
#pragma unroll
    for (int u = 0; u < 4; u++) {  // columns 8 u ... 8 u + 7 of each 32
      __half2 piece[HALVES];
#pragma unroll
      for (int j = 0; j < HALVES; j++) {
        const int eight = group * 16 + 4 * j + u, i = eight * 8 / S::SUM_DIMS, c = eight % (S::SUM_DIMS / 8);
        const float even_column = x.sum[i][4 * c + 2 * r] * factor, odd_column = x.sum[i][4 * c + 2 * r + 1] * factor;
        const float mine = odd ? odd_column : even_column, theirs = __shfl_xor_sync(~0u, odd ? even_column : odd_column, 1);
        piece[j] = __floats2half2_rn(odd ? theirs : mine, odd ? mine : theirs);
      }
      if (!inside) continue;
      const int first = head * S::D_V + group * 128, step = 2 * (2 * (u % 2) + m / 2) + u / 2;
      uint4* const at = tile_piece(out, a.n_tok, tok, first / 128 * 16 + 2 * step + odd);
      if (COLUMNS == 128) *at = *(const uint4*)piece;
      else *((uint2*)at + first / 64 % 2) = *(const uint2*)piece;
    }
  if (inside && head == 0 && m == 0) tile_factors(out, a.n_tok, a.n_head * S::D_V)[tok] = 1;
}
