// flash_attn_ext_wgmma: attention (graph.py: flash_attn_ext) of many tokens on the tensor cores of sm_90a
// q (n_tok, n_head, D_K) f32, its strides and offset multiples of 16 bytes; k_map, v_map paged f16 caches as tables of rows;
// out (n_tok, n_head, D_V) f32, or with `as_tiles` F16_TILES of n_tok rows with all heads (D_V 64, 128 or 256, n_head * D_V %
// 128 == 0, n_split 1); no ALiBi
// grid = (n_head_kv, tiles, n_split), block = 128, one of which copies, + 256 that multiply, rows_per_tile <= 128
// page_size is PAGE; shared memory: `Wide::SHARED`
//
// Each of two warpgroups keeps 64 query rows and takes tile after tile of KEYS keys, which are copied ahead. Scores of the next tile
// are multiplied ahead of the weighted sum of this one's values, which runs while their weights are made. Queries, keys, values and
// weights are f16, sums f32.
// tensor-bound
#include "flash_attn_wgmma.cuh"

constexpr int PAGE = 64;  // keys

// The tiles of K or V in shared memory, and who may use them.
template <int PARTS, int TILE, int N> struct Ring {
  static constexpr int STAGES = N, BYTES = PARTS * TILE;
  unsigned char* tiles;
  unsigned long long *full, *empty;
  __device__ __forceinline__ unsigned char* at(int i) const { return tiles + i % STAGES * BYTES; }
  __device__ __forceinline__ void wait_full(int i) const { mbarrier_wait(full + i % STAGES, i / STAGES & 1); }
  __device__ __forceinline__ void wait_empty(int i) const {
    if (i >= STAGES) mbarrier_wait(empty + i % STAGES, (i / STAGES & 1) ^ 1);
  }
  __device__ __forceinline__ void release(int i) const {
    if (threadIdx.x % 32 == 0) mbarrier_arrive(empty + i % STAGES);
  }
};

// One thread starts the copy of a tile: its pages, which begin at these rows of the table.
template <int PAGES, class R> __device__ __forceinline__ void copy_tile(const R& ring, int i, const TensorMap& map, const int (&rows)[PAGES]) {
  ring.wait_empty(i);
  unsigned long long* full = ring.full + i % R::STAGES;
  mbarrier_arrive_expect(full, R::BYTES);
#pragma unroll
  for (int page = 0; page < PAGES; page++)
#pragma unroll
    for (int part = 0; part < R::BYTES / (PAGES * PAGE * 128); part++)
      tensor_copy(ring.at(i) + (part * PAGES + page) * PAGE * 128, map, part * 64, rows[page], full);
}

// One thread starts the copies of a block's share of a segment, tile `n` and those behind it; where a tile has pages that the segment
// has not, others stand for them.
template <class S, class K, class V> __device__ __forceinline__ void copy_segment(
    const K& keys, const V& values, int& n, const Attention& a, const Segment& s, const KeyTiles& tiles, const int* block_table,
    int head_kv, const TensorMap& k_map, const TensorMap& v_map) {
  constexpr int PAGES = S::KEYS / PAGE;
  int rows[PAGES] = {}, before[PAGES];
  for (int tile = tiles.first; tile <= tiles.end; tile++, n++) {
#pragma unroll
    for (int page = 0; page < PAGES; page++) {
      before[page] = rows[page];
      const int seen = max(s.begin / PAGE, min(tile * PAGES + page, (s.end - 1) / PAGE));
      rows[page] = (block_table[(long long)s.sequence * a.n_page_max + seen] * a.n_head_kv + head_kv) * PAGE;
      asm volatile("" : "+r"(rows[page]));  // looked up before the wait
    }
    if (tile < tiles.end) copy_tile(keys, n, k_map, rows);
    if (tile > tiles.first) copy_tile(values, n - 1, v_map, before);
  }
  n -= 1;
}

// A warpgroup clears values whose keys the segment doesn't have: their weights are zero, but they may be anything, even no numbers.
template <class S> __device__ __forceinline__ void clear_values(unsigned char* values, const Segment& s, int key0, int barrier) {
  if (key0 >= s.begin && key0 + S::KEYS <= s.end) return;
  for (int i = threadIdx.x % 128; i < S::PARTS_V * S::KEYS * 8; i += 128) {
    const int key = key0 + i / 8 % S::KEYS;
    if (key < s.begin || key >= s.end) ((uint4*)values)[i] = make_uint4(0, 0, 0, 0);
  }
  wgmma_publish();
  named_barrier(barrier, 128);
}

// The query rows as f16; the multiplying threads call it.
template <class S> __device__ __forceinline__ void load_queries(unsigned char* target, const float* q, const Attention& a, const Tile& t) {
  constexpr int UNITS = S::D_K / 8;
#pragma unroll 8
  for (int i = threadIdx.x - S::COPYING; i < S::ROWS * UNITS; i += S::MULTIPLYING) {
    const int row = i / UNITS, unit = i % UNITS;
    const int p = min(row, t.n - 1);  // rows beyond the last are nobody's
    const float4* source = (const float4*)(q + t.token(p) * a.q_stride_tok + t.head(p) * a.q_stride_head + unit * 8);
    const float4 x = source[0], y = source[1];
    const __half2 h[4] = {__floats2half2_rn(x.x, x.y), __floats2half2_rn(x.z, x.w), __floats2half2_rn(y.x, y.y), __floats2half2_rn(y.z, y.w)};
    *(uint4*)(target + unit / 8 * S::TILE_Q + row * 128 + ((unit ^ row) & 7) * 16) = *(const uint4*)h;
  }
}

template <class S>
__global__ void __launch_bounds__(384, 1) flash_attn_ext_wgmma(
    const float* __restrict__ q, const __grid_constant__ TensorMap k_map, const __grid_constant__ TensorMap v_map,
    const int* __restrict__ positions, const int* __restrict__ seq_ids, const int* __restrict__ block_table,
    const float* __restrict__ sinks, float* __restrict__ out, float* __restrict__ workspace, Attention a, int as_tiles) {
  pdl_trigger();  // the merge may come to wait
  extern __shared__ __align__(1024) unsigned char shared[];
  __shared__ Rows<S::ROWS> rows;
  __shared__ unsigned long long barriers[2 * (S::STAGES_K + S::STAGES_V)];
  const Ring<S::PARTS_K, S::TILE, S::STAGES_K> keys = {shared + S::PARTS_K * S::TILE_Q, barriers, barriers + S::STAGES_K};
  const Ring<S::PARTS_V, S::TILE, S::STAGES_V> values = {
      keys.tiles + S::STAGES_K * S::PARTS_K * S::TILE, barriers + 2 * S::STAGES_K, barriers + 2 * S::STAGES_K + S::STAGES_V};
  const Tile t = begin_tile(a, gridDim.y - 1 - blockIdx.y, blockIdx.x, positions, seq_ids, rows);
  if (threadIdx.x == 0) {
    for (int i = 0; i < S::STAGES_K; i++) mbarrier_init(keys.full + i, 1), mbarrier_init(keys.empty + i, S::MULTIPLYING / 32);
    for (int i = 0; i < S::STAGES_V; i++) mbarrier_init(values.full + i, 1), mbarrier_init(values.empty + i, S::MULTIPLYING / 32);
    mbarrier_fence();
  }

  if (threadIdx.x < S::COPYING) {
    // Copies start while queries are still loaded.
    named_barrier(1, S::COPYING);
    named_arrive(2, S::COPYING + S::MULTIPLYING);
    fewer_registers<40>();
    int n = 0;
    if (threadIdx.x < 32)
      for (int first = 0; first < t.n;) {
        const Segment s = segment_at(a, t, positions, seq_ids, rows, first);
        const KeyTiles tiles = key_tiles(a, s, S::KEYS);
        if (threadIdx.x == 0 && tiles.first < tiles.end)
          copy_segment<S>(keys, values, n, a, s, tiles, block_table, t.head_kv, k_map, v_map);
        first = s.end_row;
      }
  } else {
    load_queries<S>(shared, q, a, t);
    wgmma_publish();
    named_barrier(2, S::COPYING + S::MULTIPLYING);
    more_registers<232>();
    const int lane = threadIdx.x % 32, group = __shfl_sync(~0u, threadIdx.x / 128, 0) - 1, row0 = (threadIdx.x / 32 - 4) * 16 + lane / 4;
    const unsigned queries = (unsigned)wgmma_matrix(shared_address(shared) + group * 64 * 128);
    // Scores in units of log2 are scale q.k, and with a softcap, as in cap_score, cap tanh(...).
    const float scale = a.softcap > 0 ? 1 : a.scale * LOG2_E, cap = a.softcap * LOG2_E, steep = 2 * LOG2_E * query_scale(a);
    Rows2<S> x;
    int n = 0;
    for (int first = 0; first < t.n;) {
      const Segment s = segment_at(a, t, positions, seq_ids, rows, first);
      const KeyTiles tiles = key_tiles(a, s, S::KEYS);
      // A row's keys: from <= key <= to; those that all rows see: open_begin <= key < open_end.
      int from[2], to[2];
#pragma unroll
      for (int r = 0; r < 2; r++) {
        const int row = row0 + 8 * r, last = rows.last[row];
        from[r] = first_key(a, last);
        to[r] = row >= first && row < s.end_row ? min(last, s.end - 1) : -1;
      }
      const bool alone = first == 0 && s.end_row >= t.n;
      const int open_end = alone ? min(s.lowest + 1, s.end) : 0, open_begin = first_key(a, s.highest);
      auto mask = [&](int tile) {
        const int key0 = tile * S::KEYS;
        if (a.softcap > 0) {
#pragma unroll
          for (int i = 0; i < S::KEYS / 2; i++) x.score[i] = cap * (1 - __fdividef(2, power_of_two(x.score[i] * steep) + 1));
        }
        if (key0 + S::KEYS > open_end || key0 < open_begin) {
#pragma unroll
          for (int i = 0; i < S::KEYS / 2; i++) {
            const int key = key0 + i / 4 * 8 + lane % 4 * 2 + i % 2, r = i / 2 % 2;
            if (key < from[r] || key > to[r]) x.score[i] = negative_infinity();
          }
        }
      };
      for (int tile = tiles.first; tile < tiles.end; tile++, n++) {
        float base[2], shrink[2];
        keys.wait_full(n);
        const unsigned keys_at = uniform((unsigned)wgmma_matrix(shared_address(keys.at(n))));
        if (tile == tiles.first) {
          x.begin();
          x.multiply_keys(queries, keys_at);
          x.template wait_scores<0>();
          keys.release(n);
          mask(tile);
          x.find_top(scale, base, shrink);
          x.template weigh<0, S::SOONER>(scale, base);
        } else {
          values.wait_full(n - 1);
          clear_values<S>(values.at(n - 1), s, (tile - 1) * S::KEYS, 3 + group);
          const unsigned values_at = uniform((unsigned)wgmma_matrix(shared_address(values.at(n - 1)), S::TILE));
          x.begin();
          x.multiply_keys(queries, keys_at);
          x.add_values(values_at);
          x.template wait_scores<1>();
          keys.release(n);
          mask(tile);
          x.find_top(scale, base, shrink);
          x.template weigh<0, S::SOONER>(scale, base);
          x.have_weights(shared);
          x.wait_sums();
          values.release(n - 1);
        }
        // While the last weights are made, what hangs on the sums.
        x.template weigh<S::SOONER, S::KEYS>(scale, base);
        x.shrink_sums(shrink);
        x.pack_weights();
      }
      if (tiles.first < tiles.end) {
        values.wait_full(n - 1);
        clear_values<S>(values.at(n - 1), s, (tiles.end - 1) * S::KEYS, 3 + group);
        x.begin();
        x.add_values((unsigned)wgmma_matrix(shared_address(values.at(n - 1)), S::TILE));
        x.wait_sums();
        values.release(n - 1);
      }
      first = s.end_row;
    }

    const Output output = {out, Partial(workspace, a), sinks};
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const float l = warp_sum<4>(x.l[r]);
      const int row = row0 + 8 * r;
      if (S::D_V % 128 == 0 || S::D_V == 64) {
        if (as_tiles) {
          store_tiles(out, a, t, row, x, r, row < t.n ? final_factor(x.m[r] * scale, l, sinks, t.head(row)) : 0);
          continue;
        }
      }
      if (row >= t.n) continue;
      const float factor = output.factor(a, t, row, x.m[r] * scale, l, lane % 4 == 0);
      if (factor < 0) continue;
      float* target = output.sums_of(a, t, row, S::D_V) + lane % 4 * 2;
#pragma unroll
      for (int i = 0; i < S::SUMS; i++)
#pragma unroll
        for (int c = 0; c < S::SUM_DIMS / 8; c++)
          *(float2*)(target + i * S::SUM_DIMS + c * 8) = make_float2(x.sum[i][4 * c + 2 * r] * factor, x.sum[i][4 * c + 2 * r + 1] * factor);
    }
  }
}
