// mul_mat_mma.cuh: y[t,r] = sum_k w[r,k] * x[t,k] (+ add[t,r]) for many tokens, on tensor cores; what the kernels for one
// matrix, for chosen experts and for a matrix a head share
// w (n_out, n_chunk * 32): a quantised type (rows of planes, quants/planes.cuh), F16 or BF16; x as cast_f16
// leaves it: (n_x_row, n_chunk * 32) f16, then n_x_row factors f32; y rows of n_out f32; add f32 or null, its row stride
// 0 where all tokens get the same row
// Integers of quantised types enter the tensor cores as f16, exactly; scales and minimums are applied to the sums of
// 16 or 32 products in f32. So the rounding of x to f16 is the only one.
// block = 2 * BM: a tile of BM rows x BN tokens, in DEPTH-wide steps along n_in
// dynamic shared memory: two decoded weight tiles (rows of 128 bytes), STAGES tiles of x, the scales of both
// compute-bound: weights are loaded to registers a step ahead, unpacked once a block; x comes by cp.async STAGES - 1 ahead
#pragma once
#include "quants/all.cuh"
#include "quants/plain.cuh"

constexpr int DEPTH = 64, STAGES = 3, ROW_BYTES = DEPTH * 2;

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

// Byte offset of piece p (16 bytes) of row r in a tile; the pieces of eight neighbouring rows lie in different banks. So
// rows whose numbers differ by multiples of 8 have their piece p at the same place, and piece p + 4 is at offset ^ 64.
__device__ __forceinline__ int piece(int r, int p) { return r * ROW_BYTES + ((p ^ r) & 7) * 16; }

__device__ __forceinline__ void clear(float (&v)[4]) { v[0] = v[1] = v[2] = v[3] = 0.0f; }

// Launch bounds, to which the compiler fits the registers. Of the large tiles sm_90 holds two, one of which unpacks while
// the other multiplies, except for types that would spill then; from sm_100 on those spill unless they are told to leave
// registers for 32 more threads. (Measured with NVRTC 12.9.)
template <class Q> constexpr bool SPILLS = Operand<Q>::SCALES == 2 || sizeof(typename Q::Raw) > 64;
template <> constexpr bool SPILLS<IQ3_XXS> = true;
template <> constexpr bool SPILLS<IQ4_XS> = true;
// Types that fill the registers of two large tiles an SM: there scales are read from shared memory for each use.
template <class Q> constexpr bool FULL = false;
template <> constexpr bool FULL<Q4_1> = true;
template <> constexpr bool FULL<Q8_0> = true;
template <> constexpr bool FULL<Q4_K> = true;
template <> constexpr bool FULL<IQ1_S> = true;
template <> constexpr bool FULL<IQ3_S> = true;
template <> constexpr bool FULL<TQ1_0> = true;
template <> constexpr bool FULL<TQ2_0> = true;
constexpr int LARGE_TILES = __CUDA_ARCH__ == 900 ? 2 : 1, MORE_THREADS = __CUDA_ARCH__ >= 1000 ? 32 : 0;
template <class Q, int BM> constexpr int MAX_THREADS = 2 * BM + (BM > 64 && SPILLS<Q> ? MORE_THREADS : 0);
template <class Q, int BM> constexpr int BLOCKS_PER_SM = BM > 64 ? (SPILLS<Q> ? 1 : LARGE_TILES) : SPILLS<Q> ? 2 : 3;

// BM x BN: the tile; WM x WN: that of a warp. Both of the warp's are multiples of 16 and 8.
// Tokens says which rows the tile's tokens are: x_row(i) of x, y_row(i) of y, both -1 from the last token on; RAGGED where
// tiles often have far fewer than BN. Steps first ... last - 1 of n_in are summed.
template <class Q, int BM, int BN, int WM, int WN, class Tokens>
__device__ __forceinline__ void mul_mat_tile(
    const uint8_t* w, const half* x, const float* add, float* y, const Tokens& tokens, int n_x_row, int row0, int n_out,
    int n_chunk, int first, int last, int add_stride) {
  if (__CUDA_ARCH__ < 800 && BM > 64) return;  // sm_75 lacks the shared memory for large tiles
  using Op = Operand<Q>;
  constexpr int THREADS = 2 * BM, MT = WM / 16, NT = WN / 8;
  constexpr int N_D = Op::SCALES, N_M = Op::MINS ? Op::SCALES : 0;
  static_assert(BM / WM * (BN / WN) * 32 == THREADS, "the warps' tiles fill the block's");
  extern __shared__ __align__(128) uint8_t shared[];
  uint8_t* const a_tiles = shared;
  uint8_t* const b_tiles = a_tiles + 2 * BM * ROW_BYTES;
  float* const factors = (float*)(b_tiles + STAGES * BN * ROW_BYTES);  // [tile][chunk][scales, minimums][row]
  float* const x_scales = factors + 4 * (N_D + N_M) * BM;

  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32;
  const int wm = warp % (BM / WM) * WM, wn = warp / (BM / WM) * WN;

  // This thread's part of each weight tile: one chunk of one row. Rows and chunks outside are read from the edge, and
  // what they give is dropped or multiplied by the zeros of x.
  const int a_row = tid / 2, a_chunk = tid % 2, a_place = piece(a_row, 4 * a_chunk);
  const uint8_t* const w_row = w + (size_t)min(row0 + a_row, n_out - 1) * Q::row_bytes(n_chunk);
  const auto chunk_of = [&](int step) { return min(2 * step + a_chunk, n_chunk - 1); };
  const auto store_weights = [&](const typename Q::Raw& raw, int step) {
    uint4 pieces[4];
    float d[2], m[2];
    Op::unpack(raw, chunk_of(step), pieces, d, m);
    uint8_t* const tile = a_tiles + (step & 1) * BM * ROW_BYTES;
#pragma unroll
    for (int i = 0; i < 4; i++) *(uint4*)(tile + (a_place ^ i * 16)) = pieces[i];
    float* const at = factors + ((step & 1) * 2 + a_chunk) * (N_D + N_M) * BM + a_row;
#pragma unroll
    for (int i = 0; i < N_D; i++) {
      at[i * BM] = d[i];
      if (N_M) at[(N_D + i) * BM] = m[i];
    }
  };

  // And of each tile of x: piece b_piece of every THREADS / 8 th token; tokens outside are zeros.
  constexpr int COPIES = BN * 8 / THREADS;
  const int b_tok = tid / 8, b_piece = tid % 8, b_place = piece(b_tok, b_piece);
  int b_row[COPIES];
#pragma unroll
  for (int i = 0; i < COPIES; i++) b_row[i] = tokens.x_row(b_tok + i * (THREADS / 8));
  int b_stage = 0;
  const auto copy_activations = [&](int step) {
    if (step < last) {
      const bool inside = 2 * step + b_piece / 4 < n_chunk;
#pragma unroll
      for (int i = 0; i < COPIES; i++) {
        const bool valid = inside && b_row[i] >= 0;
        const half* const source = valid ? x + (size_t)b_row[i] * n_chunk * 32 + step * DEPTH + b_piece * 8 : x;
        copy_async<16>(b_tiles + b_stage * BN * ROW_BYTES + b_place + i * (THREADS / 8) * ROW_BYTES, source, valid);
      }
    }
    copy_async_commit();
    b_stage = b_stage == STAGES - 1 ? 0 : b_stage + 1;
  };

  for (int t = tid; t < BN; t += THREADS) {
    const float* const scale = (const float*)(x + (size_t)n_x_row * n_chunk * 32);
    x_scales[t] = scale[max(tokens.x_row(t), 0)];
  }
#pragma unroll
  for (int s = 0; s < STAGES - 1; s++) copy_activations(first + s);
  if (first < last) store_weights(Q::load(w_row, n_chunk / Q::CHUNKS, chunk_of(first)), first);

  float sum[MT][NT][4] = {};
  int n_j = NT;  // groups of eight tokens that the warp has
  if (Tokens::RAGGED)
    while (n_j && tokens.y_row(wn + n_j * 8 - 8) < 0) n_j--;
  // Where this lane's rows of fragments begin; see ldmatrix.
  const int a_at = piece(wm + lane % 16, lane / 16), b_at = piece(wn + lane % 8, lane / 8);
  int stage = 0;
  for (int step = first; step < last; step++) {
    typename Q::Raw raw;
    if (step + 1 < last) raw = Q::load(w_row, n_chunk / Q::CHUNKS, chunk_of(step + 1));
    copy_async_wait<STAGES - 2>();
    __syncthreads();  // both tiles of this step are there, and nobody reads those of the step before any more
    copy_activations(step + STAGES - 1);

    const uint8_t* const a_tile = a_tiles + (step & 1) * BM * ROW_BYTES;
    const uint8_t* const b_tile = b_tiles + stage * BN * ROW_BYTES;
    stage = stage == STAGES - 1 ? 0 : stage + 1;
#pragma unroll 1
    for (int c = 0; c < 2; c++) {
      const float* const f = factors + ((step & 1) * 2 + c) * (N_D + N_M) * BM + wm + lane / 4;
      // Else the compiler reads them again for each eight tokens: a third of all that is read from shared memory.
      constexpr bool KEPT = BM <= 64 || (N_D < 2 && !(LARGE_TILES == 2 && (FULL<Q> || Tokens::RAGGED)));
      float kept[N_D + N_M > 0 ? N_D + N_M : 1][2 * MT];
      if (KEPT)
#pragma unroll
        for (int i = 0; i < N_D + N_M; i++)
#pragma unroll
          for (int r = 0; r < 2 * MT; r++) kept[i][r] = f[i * BM + r * 8];
      const auto factor = [&](int i, int r) { return KEPT ? kept[i][r] : f[i * BM + r * 8]; };
      unsigned a[MT][2][4];
#pragma unroll
      for (int h = 0; h < 2; h++)
#pragma unroll
        for (int i = 0; i < MT; i++) ldmatrix_x4(a[i][h], a_tile + (a_at ^ (c * 64 + h * 32)) + i * 16 * ROW_BYTES);
#pragma unroll
      for (int j = 0; j < NT; j++) {
        if (Tokens::RAGGED && j >= n_j) break;
        __syncwarp();  // or the compiler loads all of b first, into registers that a second block needs
        unsigned four[4];
        ldmatrix_x4(four, b_tile + (b_at ^ c * 64) + j * 8 * ROW_BYTES);
        const unsigned b[2][2] = {{four[0], four[1]}, {four[2], four[3]}};
        float part[MT][4], ones_b[4];
#pragma unroll
        for (int h = 0; h < 2; h++) {
          const bool begins = N_D == 2 || h == 0, ends = N_D == 2 || h == 1;
          if (N_M) {  // sums of x over the elements that share a minimum: a product with ones
            const unsigned ones[4] = {0x3c003c00u, 0x3c003c00u, 0x3c003c00u, 0x3c003c00u};
            if (begins) clear(ones_b);
            mma_m16n8k16_f16(ones_b, ones, b[h]);
          }
#pragma unroll
          for (int i = 0; i < MT; i++) {
            if (N_D && begins) clear(part[i]);
            mma_m16n8k16_f16(N_D ? part[i] : sum[i][j], a[i][h], b[h]);
          }
          if (!N_D || !ends) continue;
          const int k = N_D == 2 ? h : 0;
#pragma unroll
          for (int i = 0; i < MT; i++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
              sum[i][j][e] += factor(k, 2 * i + e / 2) * part[i][e];
              if constexpr (N_M > 0) sum[i][j][e] -= factor(N_D + k, 2 * i + e / 2) * ones_b[e];
            }
        }
      }
    }
    if (step + 1 < last) store_weights(raw, step + 1);
  }

  __syncthreads();  // without a step, no barrier stands between the scales' writers and readers
#pragma unroll
  for (int j = 0; j < NT; j++)
#pragma unroll
    for (int e = 0; e < 2; e++) {
      const int t_in = wn + j * 8 + lane % 4 * 2 + e, t = tokens.y_row(t_in);
      if (t < 0) continue;
      const float scale = x_scales[t_in];
#pragma unroll
      for (int i = 0; i < 2 * MT; i++) {
        const int r = row0 + wm + i * 8 + lane / 4;
        if (r < n_out)
          y[(size_t)t * n_out + r] = sum[i / 2][j][i % 2 * 2 + e] * scale + (add ? add[(size_t)t * add_stride + r] : 0.0f);
      }
    }
}
