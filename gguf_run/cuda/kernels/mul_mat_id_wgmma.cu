// mul_mat_id_wgmma: y[p,r] = w[e,r] . x[p / x_div] (+ add[e,r]) for many pairs p of a token and one of its experts e, on wgmma
// (sm_90a); GATED: y[p,r] = act(w[e,r] . x[p / x_div] (+ add[e,r])) * (up[e,r] . x[p / x_div] (+ up_add[e,r])) as F16_TILES
// with the factor FACTOR (mul_mat_wgmma_gated.cuh), n_out % 128 == 0
// w, up: rows of quants/planes.cuh, F16 or BF16, n_chunk % 4 == 0, an expert's n_out rows at e * expert_rows, so that both may be halves
// of one tensor; adds f32 or null, laid out alike; x F16_TILES of n_row rows, a row for x_div pairs; tiles (n_tile, 1 + size) i32: an
// expert and its pairs, as moe_group leaves them, size <= BN; y (n_pair, n_out), f32 where not GATED; the rest and the bound: mul_mat_wgmma.cuh
// grid = any: blocks share all tiles of 128 rows (GATED: 64 of each) x a tile's pairs, one row tile after the other
// dynamic shared memory: STAGES * BN * 128 bytes, GATED another BN * 128; rows of x are gathered by the copying threads, 16 bytes at a time
#include "glu.cuh"
#include "mul_mat_wgmma_gated.cuh"

// How many of a tile's places have a pair: those ahead of all others. Whole warps call it.
__device__ __forceinline__ int count_pairs(const int* pairs, int size) {
  int n = 0;
  for (int i = threadIdx.x % 32; i - (int)threadIdx.x % 32 < size; i += 32) n += __popc(__ballot_sync(~0u, i < size && __ldg(pairs + min(i, size - 1)) >= 0));
  return n;
}

// What the multiplying threads know of a tile's pairs.
template <int BN> struct Places {
  int pair[BN];
  float scale[BN];
};

// The tile's n rows of x, all n_block blocks of 64 columns; `rows` are theirs. The copying threads.
template <class R> __device__ __forceinline__ void gather(R& ring, const uint8_t* x, const int* rows, int n_row, int n, int n_block) {
  const int i = threadIdx.x - MULTIPLY, unit = i % 8, row0 = i / 8;
  const int at = row0 * BLOCK_BYTES + (unit ^ row0 % 8) * 16;
  for (int block = 0; block < n_block; block++, ring.next()) {
    mbarrier_wait(ring.empty + ring.slot, ring.parity);
    uint8_t* const to = ring.stages + ring.slot * R::SLOT_BYTES + at;
    const uint8_t* const from = x + (size_t)block * n_row * BLOCK_BYTES;
#pragma unroll 4
    for (int r = row0; r < n; r += COPY / 8) {
      const int row = rows[r];
      copy_async<16>(to + (r - row0) * BLOCK_BYTES, from + (size_t)row * BLOCK_BYTES + (unit ^ row % 8) * 16);
    }
    mbarrier_arrive_behind_copies(ring.full + ring.slot);
  }
}

template <class Q, int BN, int STAGES, bool GATED>
__global__ void __launch_bounds__(MULTIPLY + COPY, 1)
mul_mat_id_wgmma(const uint8_t* __restrict__ w, const uint8_t* __restrict__ up, const float* __restrict__ add,
                 const float* __restrict__ up_add, const uint8_t* __restrict__ x, const int* __restrict__ tiles, void* __restrict__ y,
                 int n_row, int n_pair, int n_out, int expert_rows, int n_chunk, int x_div, int n_tile, int size, Glu glu) {
  extern __shared__ __align__(1024) uint8_t stages[];
  __shared__ unsigned long long full[STAGES], empty[STAGES];
  __shared__ Places<BN> places[2];
  __shared__ int rows[BN];
  constexpr int ROWS = GATED ? BM / 2 : BM;
  const int tid = threadIdx.x, n_row_tile = (n_out + ROWS - 1) / ROWS, n_unit = n_tile * n_row_tile, n_step = n_chunk / STEP_CHUNKS;
  Ring<STAGES, STAGE_BYTES<BN>, COPY> ring = {stages, full, empty, 0, tid >= MULTIPLY};
  if (tid == 0) ring.init();
  __syncthreads();
  const auto tile_of = [&](int unit) { return tiles + (size_t)(unit / n_row_tile) * (1 + size); };

  if (tid >= MULTIPLY) {
    fewer_registers<40>();
    for (int unit = blockIdx.x; unit < n_unit; unit += gridDim.x) {
      const int* const tile = tile_of(unit);
      const int n = count_pairs(tile + 1, size);
      if (n == 0) break;  // so have all tiles behind
      named_barrier(2, COPY);  // nobody reads the rows of the tile before
      for (int i = tid - MULTIPLY; i < n; i += COPY) rows[i] = __ldg(tile + 1 + i) / x_div;
      named_barrier(2, COPY);
      gather(ring, x, rows, n_row, n, n_chunk / 2);
    }
    copy_async_wait<0>();
    return;
  }
  more_registers<232>();
  const float* const scales = (const float*)(x + (size_t)n_row * n_chunk * 64);
  for (int unit = blockIdx.x, turn = 0; unit < n_unit; unit += gridDim.x, turn ^= 1) {
    const int* const tile = tile_of(unit);
    const int n = count_pairs(tile + 1, size);
    if (n == 0) break;
    if (tid < n) {
      const int pair = __ldg(tile + 1 + tid);
      places[turn].pair[tid] = pair, places[turn].scale[tid] = __ldg(scales + pair / x_div);
    }
    const size_t expert = (size_t)__ldg(tile) * expert_rows;
    float sum[BN / 2];
    Weights<Q, BN> rows_of;
    if constexpr (GATED) {
      // A block of 64 columns of y: a warp has one piece of it for all pairs, a lane one number of that.
      const int block = unit % n_row_tile;
      const size_t r = expert + tile_column(block * 8 + tid / 32, tid % 32 / 4);
      rows_of.begin(w + r * Q::row_bytes(n_chunk), up + r * Q::row_bytes(n_chunk), n_chunk, 0, n_step);
      multiply<Q, BN>(sum, ring, rows_of, 0, n_step);
      const int thread = thread_anew(), lane = thread % 32, warp = thread / 32;
      const size_t row = expert + tile_column(block * 8 + warp, lane / 4);
      const float a = add ? add[row] : 0.0f, b = up_add ? up_add[row] : 0.0f;
      uint8_t* const staged = stages + STAGES * STAGE_BYTES<BN>;
      named_barrier(1, MULTIPLY);  // places are there, and nobody reads what the tile before staged
#pragma unroll
      for (int i = 0; i < BN / 8; i++) {
        __syncwarp();  // or the compiler begins many at once, for which there are no registers
        if (i * 8 >= n) break;
        float v[2];
#pragma unroll
        for (int e = 0; e < 2; e++) {
          const float scale = places[turn].scale[i * 8 + lane % 4 * 2 + e];
          v[e] = over_factor(apply_glu(glu, sum[4 * i + e] * scale + a, sum[4 * i + 2 + e] * scale + b));
        }
        stage_gated(staged, warp, lane, i * 8, v);
      }
      named_barrier(1, MULTIPLY);
      for (int i = thread; i < n * 8; i += MULTIPLY) {
        const int t = i / 8, pair = places[turn].pair[t];
        *tile_piece(y, n_pair, pair, block * 8 + i % 8) = *(const uint4*)(staged + t * BLOCK_BYTES + (i % 8 ^ t % 8) * 16);
      }
      if (block == 0 && thread < n) tile_factors(y, n_pair, n_out)[places[turn].pair[thread]] = FACTOR;
    } else {
      const int row0 = unit % n_row_tile * BM;
      const auto weights = [&](int r) { return w + (expert + min(row0 + r, n_out - 1)) * Q::row_bytes(n_chunk); };
      rows_of.begin(weights(tid / 4 * 2), weights(tid / 4 * 2 + 1), n_chunk, 0, n_step);
      multiply<Q, BN>(sum, ring, rows_of, 0, n_step);
      const int thread = thread_anew(), lane = thread % 32, row = row0 + thread / 4 * 2;
      const bool one = row < n_out, two = row + 1 < n_out, aligned = n_out % 2 == 0;
      const float a = add && one ? add[expert + row] : 0.0f, b = add && two ? add[expert + row + 1] : 0.0f;
      named_barrier(1, MULTIPLY);  // places are there
#pragma unroll
      for (int i = 0; i < BN / 8; i++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
          const int t = i * 8 + lane % 4 * 2 + e;
          if (t >= n || !one) continue;
          const float scale = places[turn].scale[t];
          const float2 v = make_float2(sum[4 * i + e] * scale + a, sum[4 * i + 2 + e] * scale + b);
          float* const to = (float*)y + (size_t)places[turn].pair[t] * n_out + row;
          if (aligned) {
            *(float2*)to = v;
          } else {
            to[0] = v.x;
            if (two) to[1] = v.y;
          }
        }
    }
  }
}
