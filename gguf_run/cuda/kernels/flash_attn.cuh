// flash_attn.cuh: what the attention kernels share: how rows are laid out, which keys they see, how results end.
//
// A row is one query head of one token. The rows that read one KV head are numbered token by token, the heads of a
// group side by side: row p is head p % group of token p / group. A tile is rows_per_tile of them, and all of its
// rows share each load of K and V. Tokens of one sequence stand together; a tile takes the sequences (segments)
// among its rows one after another.
//
// The keys of a segment are cut into n_split parts, each for a block of its own (grid z). A part ends with sums that
// are not yet divided, and the pair (m, l): the largest score of each row, in units of log2, and the sum of
// 2^(score - m). flash_attn_combine.cu merges them. With n_split = 1 results are written at once.
#pragma once
#include "ptx.cuh"

constexpr float LOG2_E = 1.4426950408889634f;

enum CacheType { F32, F16, Q8_0, Q4_0 };  // as ops/flash_attn.py numbers them

// Passed by value; the wrapper (ops/flash_attn.py) packs it.
struct Attention {
  long long q_stride_tok, q_stride_head;  // elements
  long long k_row_bytes, v_row_bytes;     // from one key to the next
  float scale, softcap;                   // softcap 0: none
  float max_bias;                         // of ALiBi; 0: none
  // Position p sees the keys p + reach - window < key <= p + reach that its sequence has; window 0: all before, or with
  // chunk > 0 those from the last multiple of it on.
  int window, reach, chunk;
  int n_tok, n_head, n_head_kv;
  int n_page_max, page_size;
  int rows_per_tile, n_split;
};

__device__ __forceinline__ float negative_infinity() { return __int_as_float(0xff800000); }

// The factor of q, and what makes a score of log2 units out of q.k: with a cap c, c tanh(x / c).
__device__ __forceinline__ float query_scale(const Attention& a) {
  return a.softcap > 0 ? a.scale / a.softcap : a.scale * LOG2_E;
}
__device__ __forceinline__ float cap_score(const Attention& a, float x) {
  // tanh without overflow: 1 - 2 / (e^2x + 1); for small x its error is 1e-7, times the cap far below a score's own.
  return a.softcap > 0 ? a.softcap * LOG2_E * (1 - __fdividef(2, exp2f(2 * LOG2_E * x) + 1)) : x;
}

// A block's rows: the sequence and the last key that each would see, -1 for rows beyond the last; ALiBi's slope.
template <int ROWS> struct Rows {
  static constexpr int N = (ROWS + 31) / 32 * 32;  // so that a warp reads them all
  int sequence[N], last[N];
  float slope[N];
};

// ALiBi's slope of a head (graph_params.py: slopes), for scores in units of log2.
__device__ __forceinline__ float alibi_slope(const Attention& a, int head) {
  int n = 1;
  while (2 * n <= a.n_head) n *= 2;
  const float exponent = head < n ? head + 1.0f : head - n + 0.5f;
  return exp2f(-a.max_bias * exponent / n) * LOG2_E;
}

// Which rows this block computes.
struct Tile {
  int first, n, group, head_kv;  // the first packed row, how many, heads of a group, KV head
  __device__ int token(int row) const { return (first + row) / group; }
  __device__ int head(int row) const { return head_kv * group + (first + row) % group; }
};

// Heavy tiles first: late tokens see the most keys. A barrier must follow.
template <int ROWS> __device__ __forceinline__ Tile begin_tile(
    const Attention& a, int tile, int head_kv, const int* positions, const int* seq_ids, Rows<ROWS>& rows, int n_threads = blockDim.x) {
  const int group = a.n_head / a.n_head_kv;
  const int first = tile * a.rows_per_tile;
  const Tile t = {first, min(a.rows_per_tile, a.n_tok * group - first), group, head_kv};
  for (int r = threadIdx.x % n_threads; r < Rows<ROWS>::N; r += n_threads) {
    rows.sequence[r] = r < t.n ? seq_ids[t.token(r)] : -1;
    rows.last[r] = r < t.n ? positions[t.token(r)] + a.reach : -1;
    if (a.max_bias > 0) rows.slope[r] = alibi_slope(a, t.head(r));
  }
  return t;
}

// The first key that is seen by a row whose last one is `last`; may be negative.
__device__ __forceinline__ int first_key(const Attention& a, int last) {
  return a.window > 0 ? last - a.window + 1 : a.chunk > 0 ? last - last % a.chunk : 0;
}

// Neighbouring rows of one sequence, and the keys that any of them sees: begin <= key < end.
struct Segment {
  int sequence, first_row, end_row, begin, end;
  int lowest, highest;  // last keys that its rows would see
};

// The last position that a sequence has in the batch, from one of its tokens on; all lanes of a warp call this.
__device__ __forceinline__ int last_position(const Attention& a, const int* positions, const int* seq_ids, int token) {
  const int sequence = seq_ids[token];
  int highest = 0;
  for (int from = token;; from += 32) {
    const int i = from + threadIdx.x % 32;
    const bool same = i < a.n_tok && seq_ids[i] == sequence;
    if (same) highest = max(highest, positions[i]);
    if (!__all_sync(~0u, same)) return warp_max(highest);
  }
}

// The segment that starts at first_row; all lanes of a warp call this.
template <int ROWS> __device__ __forceinline__ Segment segment_at(
    const Attention& a, const Tile& t, const int* positions, const int* seq_ids, const Rows<ROWS>& rows, int first_row) {
  const int lane = threadIdx.x % 32;
  Segment s = {rows.sequence[first_row], first_row, 0, 0, 0, 0, 0};
  int beyond = Rows<ROWS>::N;
#pragma unroll
  for (int i = lane; i < Rows<ROWS>::N; i += 32)
    if (i > first_row && rows.sequence[i] != s.sequence) beyond = min(beyond, i);
  s.end_row = -warp_max(-beyond);
  int highest = -1, lowest = 0x7fffffff;
#pragma unroll
  for (int i = lane; i < Rows<ROWS>::N; i += 32)
    if (i >= first_row && i < s.end_row) {
      highest = max(highest, rows.last[i]);
      lowest = min(lowest, rows.last[i]);
    }
  s.highest = warp_max(highest);
  s.lowest = -warp_max(-lowest);
  s.end = 1 + (a.reach > 0 ? min(s.highest, last_position(a, positions, seq_ids, t.token(first_row))) : s.highest);
  s.begin = max(0, first_key(a, s.lowest));
  return s;
}

// Tiles of KEYS keys, first <= tile < end, that this block's part of the segment has.
struct KeyTiles {
  int first, end;
};
__device__ __forceinline__ KeyTiles key_tiles(const Attention& a, const Segment& s, int keys) {
  const int first = s.begin / keys, end = max(first, (s.end + keys - 1) / keys);
  const int each = (end - first + a.n_split - 1) / a.n_split;
  return {min(end, first + (int)blockIdx.z * each), min(end, first + ((int)blockIdx.z + 1) * each)};
}

// The row of K or V (in rows of the cache) that holds a key of a sequence.
__device__ __forceinline__ long long key_row(const Attention& a, const int* block_table, int sequence, int head_kv, int key) {
  const int page = block_table[(long long)sequence * a.n_page_max + key / a.page_size];
  return ((long long)page * a.n_head_kv + head_kv) * a.page_size + key % a.page_size;
}

__device__ __forceinline__ bool sees(const Attention& a, const Segment& s, int last, int key) {
  return key <= last && key < s.end && key >= first_key(a, last);
}

// What ALiBi takes from a score.
__device__ __forceinline__ float alibi(const Attention& a, float slope, int last, int key) {
  return slope * fabsf((float)(last - a.reach - key));
}

// What undivided sums are multiplied by in the end. A row that sees nothing gives zeros.
__device__ __forceinline__ float final_factor(float m, float l, const float* sinks, int head) {
  if (sinks) {
    const float sink = sinks[head] * LOG2_E, top = fmaxf(m, sink);
    l = l * exp2f(m - top) + exp2f(sink - top);
    return exp2f(m - top) / l;
  }
  return l > 0 ? 1 / l : 0;
}

// Partial results in the workspace: (rows, n_split) pairs (m, l), an even number of them, then (rows, n_split, d_v)
// f32 sums.
struct Partial {
  float2* state;
  float* sums;
  __device__ Partial(float* workspace, const Attention& a) : state((float2*)workspace) {
    const long long n = (long long)a.n_tok * a.n_head * a.n_split;
    sums = workspace + (n + n % 2) * 2;
  }
};
__device__ __forceinline__ long long output_row(const Attention& a, const Tile& t, int row) {
  return (long long)t.token(row) * a.n_head + t.head(row);
}

// Where a block's results go.
struct Output {
  float* out;
  Partial partial;
  const float* sinks;

  // What the sums of a row are multiplied by on their way to `sums_of`; negative: they aren't wanted.
  __device__ __forceinline__ float factor(const Attention& a, const Tile& t, int row, float m, float l, bool first) const {
    if (a.n_split == 1) return final_factor(m, l, sinks, t.head(row));
    if (first) partial.state[output_row(a, t, row) * a.n_split + blockIdx.z] = make_float2(m, l);
    return l > 0 ? 1 : -1;
  }
  __device__ __forceinline__ float* sums_of(const Attention& a, const Tile& t, int row, int d_v) const {
    const long long target = output_row(a, t, row);
    return a.n_split == 1 ? out + target * d_v : partial.sums + (target * a.n_split + blockIdx.z) * d_v;
  }
};
