// mul_mat_mma: y[t,r] = sum_k w[r,k] * x[t,k] (+ add[t,r]) for many tokens, on tensor cores
// w (n_out, n_chunk * 32): a quantised type (rows of planes, quants/planes.cuh), F16 or BF16; x as cast_f16_scaled
// leaves it: (n_tok, n_chunk * 32) f16, then n_tok factors f32; y (n_tok, n_out) f32; add f32 or null, its row stride
// 0 where all tokens get the same row
// Integers of quantised types enter the tensor cores as f16, exactly; scales and minimums are applied to the sums of
// 16 or 32 products in f32. So the rounding of x to f16 is the only one.
// grid = (n_out / BM, n_tok / BN, n_split), the first two rounded up; block = 2 * BM. A block computes a tile of BM rows
// x BN tokens over its share of the DEPTH-wide steps. With n_split > 1 it writes its sums to `partial` (n_split, n_tok,
// n_out), which mul_mat_sum adds up.
// dynamic shared memory: two decoded weight tiles (rows of 128 bytes), STAGES tiles of x, the scales
// compute-bound: weights are loaded to registers a step ahead, unpacked once a block; x comes by cp.async STAGES - 1 ahead
#include <cuda_bf16.h>
#include "quants/all.cuh"

constexpr int DEPTH = 64, STAGES = 3, ROW_BYTES = DEPTH * 2;

// Weights that are numbers already: a chunk is its 32 numbers, without scales.
template <class T> struct Plain {
  static constexpr int CHUNKS = 1;
  struct Raw {
    uint4 v[4];
  };
  __device__ static __forceinline__ int row_bytes(int n_chunk) { return n_chunk * 64; }
  __device__ static __forceinline__ Raw load(const uint8_t* row, int, int c) {
    return {{load16(row, 4 * c), load16(row, 4 * c + 1), load16(row, 4 * c + 2), load16(row, 4 * c + 3)}};
  }
};
using F16 = Plain<half>;
using BF16 = Plain<nv_bfloat16>;

// f16 for two bf16: exact within f16's range; weights beyond it don't occur, and would become infinite, not wrong.
__device__ __forceinline__ unsigned halves_of_bf16(unsigned two) {
  const __half2 h = __floats2half2_rn(__uint_as_float(two << 16), __uint_as_float(two & 0xffff0000u));
  return *(const unsigned*)&h;
}
__device__ __forceinline__ uint4 halves_of_bf16(uint4 v) {
  return make_uint4(halves_of_bf16(v.x), halves_of_bf16(v.y), halves_of_bf16(v.z), halves_of_bf16(v.w));
}

// What the kernel needs to know of a type: how many scales and minimums of a chunk it keeps in shared memory, and how a
// chunk becomes 32 f16 numbers (four pieces of eight) and those.
template <class Q> struct Operand {
  static constexpr int SCALES = Q::SCALES;
  static constexpr bool MINS = Q::MINS;
  __device__ static __forceinline__ void unpack(const typename Q::Raw& raw, int c, uint4 (&pieces)[4], float* d, float* m) {
    const Chunk chunk = Q::unpack(raw, c);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const uint2 a = halves4<Q>(chunk.w[2 * i]), b = halves4<Q>(chunk.w[2 * i + 1]);
      pieces[i] = make_uint4(a.x, a.y, b.x, b.y);
    }
#pragma unroll
    for (int i = 0; i < SCALES; i++) {
      d[i] = chunk.d[i];
      if (MINS) m[i] = chunk.m[i];
    }
  }
};
template <class T> struct Operand<Plain<T>> {
  static constexpr int SCALES = 0;
  static constexpr bool MINS = false;
  __device__ static __forceinline__ void unpack(const typename Plain<T>::Raw& raw, int, uint4 (&pieces)[4], float*, float*) {
#pragma unroll
    for (int i = 0; i < 4; i++) pieces[i] = sizeof(T) == 2 && is_half((T*)nullptr) ? raw.v[i] : halves_of_bf16(raw.v[i]);
  }
  __device__ static constexpr bool is_half(const half*) { return true; }
  __device__ static constexpr bool is_half(const nv_bfloat16*) { return false; }
};

// Piece p (16 bytes) of row r of a tile; the pieces of eight neighbouring rows lie in different banks.
__device__ __forceinline__ uint8_t* piece(uint8_t* tile, int r, int p) { return tile + r * ROW_BYTES + ((p ^ r) & 7) * 16; }

// BM x BN: the tile; WM x WN: that of a warp. Both of the warp's are multiples of 16 and 8.
template <class Q, int BM, int BN, int WM, int WN>
__global__ void __launch_bounds__(2 * BM, BM > 64 ? 0 : Operand<Q>::MINS && Operand<Q>::SCALES == 2 ? 2 : 3)
mul_mat_mma(const uint8_t* __restrict__ w, const half* __restrict__ x, const float* __restrict__ add, float* __restrict__ y,
            float* __restrict__ partial, int n_tok, int n_out, int n_chunk, int add_stride) {
  using Op = Operand<Q>;
  constexpr int THREADS = 2 * BM, MT = WM / 16, NT = WN / 8, N_D = Op::SCALES, N_M = Op::MINS ? Op::SCALES : 0;
  static_assert(BM / WM * (BN / WN) * 32 == THREADS, "the warps' tiles fill the block's");
  extern __shared__ __align__(128) uint8_t shared[];
  uint8_t* const a_tiles = shared;
  uint8_t* const b_tiles = a_tiles + 2 * BM * ROW_BYTES;
  float* const scales = (float*)(b_tiles + STAGES * BN * ROW_BYTES);  // [tile][chunk][scales, minimums][row]

  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32;
  const int row0 = blockIdx.x * BM, tok0 = blockIdx.y * BN;
  const int wm = warp % (BM / WM) * WM, wn = warp / (BM / WM) * WN;
  const int n_step = (n_chunk + 1) / 2;
  const int first = (int)((long long)n_step * blockIdx.z / gridDim.z), last = (int)((long long)n_step * (blockIdx.z + 1) / gridDim.z);

  // This thread's part of each weight tile: one chunk of one row. Rows and chunks outside are read from the edge, and
  // what they give is dropped or multiplied by the zeros of x.
  const int a_row = tid / 2, a_chunk = tid % 2;
  const uint8_t* const w_row = w + (size_t)min(row0 + a_row, n_out - 1) * Q::row_bytes(n_chunk);
  const auto load_weights = [&](int step) {
    return Q::load(w_row, n_chunk / Q::CHUNKS, min(2 * step + a_chunk, n_chunk - 1));
  };
  const auto store_weights = [&](const typename Q::Raw& raw, int step) {
    uint4 pieces[4];
    float d[2], m[2];
    Op::unpack(raw, min(2 * step + a_chunk, n_chunk - 1), pieces, d, m);
    uint8_t* const tile = a_tiles + (step & 1) * BM * ROW_BYTES;
#pragma unroll
    for (int i = 0; i < 4; i++) *(uint4*)piece(tile, a_row, 4 * a_chunk + i) = pieces[i];
    float* const at = scales + ((step & 1) * 2 + a_chunk) * (N_D + N_M) * BM + a_row;
#pragma unroll
    for (int i = 0; i < N_D; i++) {
      at[i * BM] = d[i];
      if (N_M) at[(N_D + i) * BM] = m[i];
    }
  };
  const auto copy_activations = [&](int step) {
    uint8_t* const tile = b_tiles + step % STAGES * BN * ROW_BYTES;
#pragma unroll
    for (int i = 0; i < BN * 8 / THREADS; i++) {
      const int t = (tid + i * THREADS) / 8, p = tid % 8, k = step * DEPTH + p * 8;
      const bool inside = tok0 + t < n_tok && k < n_chunk * 32;
      copy_async<16>(piece(tile, t, p), inside ? x + (size_t)(tok0 + t) * n_chunk * 32 + k : x, inside);
    }
  };

  float sum[MT][NT][4] = {};
#pragma unroll
  for (int s = 0; s < STAGES - 1; s++) {
    if (first + s < last) copy_activations(first + s);
    copy_async_commit();
  }
  if (first < last) store_weights(load_weights(first), first);

  for (int step = first; step < last; step++) {
    typename Q::Raw raw;
    if (step + 1 < last) raw = load_weights(step + 1);
    copy_async_wait<STAGES - 2>();
    __syncthreads();  // both tiles of this step are there, and nobody reads those of the step before any more
    if (step + STAGES - 1 < last) copy_activations(step + STAGES - 1);
    copy_async_commit();

    uint8_t* const a_tile = a_tiles + (step & 1) * BM * ROW_BYTES;
    uint8_t* const b_tile = b_tiles + step % STAGES * BN * ROW_BYTES;
#pragma unroll 1
    for (int c = 0; c < 2; c++) {
      const float* const factors = scales + ((step & 1) * 2 + c) * (N_D + N_M) * BM + wm + lane / 4;
      unsigned a[MT][2][4];
#pragma unroll
      for (int i = 0; i < MT; i++)
#pragma unroll
        for (int h = 0; h < 2; h++) ldmatrix_x4(a[i][h], piece(a_tile, wm + i * 16 + lane % 16, c * 4 + h * 2 + lane / 16));
#pragma unroll
      for (int j = 0; j < NT; j++) {
        unsigned b[4];
        ldmatrix_x4(b, piece(b_tile, wn + j * 8 + lane % 8, c * 4 + lane / 8));
        const unsigned b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
        float ones_b[2][4] = {};  // sums of x over the elements that share a minimum: a product with ones
        if (N_M) {
          const unsigned ones[4] = {0x3c003c00u, 0x3c003c00u, 0x3c003c00u, 0x3c003c00u};
          mma_m16n8k16_f16(ones_b[0], ones, b0);
          mma_m16n8k16_f16(ones_b[N_D == 2 ? 1 : 0], ones, b1);
        }
#pragma unroll
        for (int i = 0; i < MT; i++) {
          if (N_D == 0) {
            mma_m16n8k16_f16(sum[i][j], a[i][0], b0);
            mma_m16n8k16_f16(sum[i][j], a[i][1], b1);
            continue;
          }
          float part[2][4] = {};
          mma_m16n8k16_f16(part[0], a[i][0], b0);
          mma_m16n8k16_f16(part[N_D == 2 ? 1 : 0], a[i][1], b1);
#pragma unroll
          for (int h = 0; h < N_D; h++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
              sum[i][j][e] += factors[h * BM + i * 16 + e / 2 * 8] * part[h][e];
              if (N_M) sum[i][j][e] -= factors[(N_D + h) * BM + i * 16 + e / 2 * 8] * ones_b[h][e];
            }
        }
      }
    }
    if (step + 1 < last) store_weights(raw, step + 1);
  }

  const float* const x_scale = (const float*)(x + (size_t)n_tok * n_chunk * 32);
  const bool whole = gridDim.z == 1;
  float* const out = whole ? y : partial + (size_t)blockIdx.z * n_tok * n_out;
#pragma unroll
  for (int j = 0; j < NT; j++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int t = tok0 + wn + j * 8 + lane % 4 * 2 + e % 2;
      if (t >= n_tok) continue;
      const float scale = x_scale[t];
#pragma unroll
      for (int i = 0; i < MT; i++) {
        const int r = row0 + wm + i * 16 + lane / 4 + e / 2 * 8;
        if (r >= n_out) continue;
        const float value = sum[i][j][e] * scale;
        out[(size_t)t * n_out + r] = whole && add ? value + add[(size_t)t * add_stride + r] : value;
      }
    }
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
