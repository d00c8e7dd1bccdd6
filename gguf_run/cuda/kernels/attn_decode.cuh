// attn_decode.cuh: one warp of attn_decode.cu: 16 keys and values in registers, and the softmax over them.
//
// In a warp lane 4 g + t has, of chunk c (32 neighbours of a row), of keys g and g + 8 the elements 8 t ... 8 t + 7, of
// values 2 t, 2 t + 1, 2 t + 8, 2 t + 9 the elements 4 g ... 4 g + 3: fragments of mma.m16n8k16, if the elements of a key
// are taken in that order. q k has heads as rows and keys as columns, v p dimensions as rows and heads as columns: so the
// scores of one product, those of head g and the lane's four values, are where the other one wants its weights.
#pragma once
#include "cache_types.cuh"
#include "flash_attn.cuh"
#include "rope.cuh"

constexpr int WARPS = 8, THREADS = 32 * WARPS, MAX_SETS = 1024, MAX_PARTS = 128;
constexpr int BATCH = 16;   // keys
constexpr int COLUMNS = 8;  // of the products; HEADS of them are used
template <int D> constexpr int HEADS = D == 256 ? 4 : COLUMNS;
template <class Cache, int D> constexpr int ROW_BYTES = D / Cache::SIZE * Cache::BYTES;

// The same for all lanes, and the compiler knows.
__device__ __forceinline__ int warp_index() { return __shfl_sync(~0u, threadIdx.x / 32, 0); }

__device__ __forceinline__ void add_scaled(float4& sum, float factor, const float4& x) {
  sum.x += factor * x.x, sum.y += factor * x.y, sum.z += factor * x.z, sum.w += factor * x.w;
}
__device__ __forceinline__ float4 scaled(float factor, const float4& x) {
  return make_float4(factor * x.x, factor * x.y, factor * x.z, factor * x.w);
}

// Neighbours of a cached row as they lie there, and as pairs of f16.
template <class Cache, int D> struct Cells;

template <int D> struct Cells<CacheF16, D> {
  typedef uint4 Eight;
  typedef uint2 Four;
  static constexpr bool HAS_SCALE = false;
  __device__ static Eight eight(const unsigned char* row, int chunk, int i) {
    return ((const uint4*)row)[chunk * 4 + i];
  }
  __device__ static Four four(const unsigned char* row, int chunk, int i) {
    return ((const uint2*)row)[chunk * 8 + i];
  }
  __device__ static void pairs(const Eight& x, unsigned (&w)[4]) { w[0] = x.x, w[1] = x.y, w[2] = x.z, w[3] = x.w; }
  __device__ static void pairs(const Four& x, unsigned (&w)[2]) { w[0] = x.x, w[1] = x.y; }
};

template <int D> struct Cells<CacheQ8_0, D> {
  typedef uint2 Eight;
  typedef unsigned Four;
  static constexpr bool HAS_SCALE = true;
  // Blocks are only 2-byte aligned, but those of odd numbers in rows of whole words have their numbers aligned.
  __device__ static Four four(const unsigned char* row, int chunk, int i) {
    const unsigned char* p = row + chunk * CacheQ8_0::BYTES + 2 + 4 * i;
    if (D % 64 == 0 && chunk % 2 == 1) return *(const unsigned*)p;
    const unsigned short* half = (const unsigned short*)p;
    return half[0] | (unsigned)half[1] << 16;
  }
  __device__ static Eight eight(const unsigned char* row, int chunk, int i) {
    return make_uint2(four(row, chunk, 2 * i), four(row, chunk, 2 * i + 1));
  }
  // 1024 + u has u in its low bits.
  __device__ static unsigned pair(unsigned biased, unsigned selector) {
    const unsigned word = __byte_perm(biased, 0x64646464, selector), bias = 0x64806480;
    const __half2 x = __hsub2(*(const __half2*)&word, *(const __half2*)&bias);
    return *(const unsigned*)&x;
  }
  __device__ static void pairs(unsigned x, unsigned (&w)[2]) {
    x ^= 0x80808080;
    w[0] = pair(x, 0x4140), w[1] = pair(x, 0x4342);
  }
  __device__ static void pairs(const Eight& x, unsigned (&w)[4]) {
    unsigned low[2], high[2];
    pairs(x.x, low), pairs(x.y, high);
    w[0] = low[0], w[1] = low[1], w[2] = high[0], w[3] = high[1];
  }
};

// Two floats as f16 numbers, and what is left of them.
__device__ __forceinline__ void split(float x, float y, unsigned& high, unsigned& low) {
  const __half2 h = __floats2half2_rn(x, y), l = __floats2half2_rn(x - __low2float(h), y - __high2float(h));
  high = *(const unsigned*)&h, low = *(const unsigned*)&l;
}

// The queries of a set, as fragments: of each two neighbours the high halves, then the low ones.
template <int D> struct Query {
  static constexpr int STRIDE = 2 * D + 8;  // banks
  __align__(16) __half x[COLUMNS][STRIDE];

  __device__ __forceinline__ void put(int head, int i, float value) {
    const __half high = __float2half_rn(value);
    __half* at = x[head] + i / 2 * 4 + i % 2;
    at[0] = high, at[2] = __float2half_rn(value - __half2float(high));
  }
  // The heads from n on.
  __device__ __forceinline__ void clear(int n) {
#pragma unroll 1
    for (int i = n * STRIDE + threadIdx.x; i < COLUMNS * STRIDE; i += THREADS) (&x[0][0])[i] = __float2half_rn(0);
  }
};

// The softmax so far of head g over this lane's keys, and the sums of heads 2 t and 2 t + 1.
template <int D> struct State {
  // Weights are 2^(score - level), at most 2^HEADROOM: their low halves, and products with small scales, stay normal numbers.
  static constexpr int HEADROOM = 6;
  float level, total, sum[D / 16][4];

  __device__ __forceinline__ State() {
    level = negative_infinity(), total = 0;
#pragma unroll
    for (int m = 0; m < D / 16; m++)
#pragma unroll
      for (int i = 0; i < 4; i++) sum[m][i] = 0;
  }
  // Makes weights of scores, which are of keys `first` and on; begin <= key < end count.
  __device__ __forceinline__ void weigh(const Attention& a, float (&s)[4], int first, int begin, int end) {
    const int key = first + threadIdx.x % 4 * 2 - begin;
    if (a.softcap > 0)
#pragma unroll
      for (int i = 0; i < 4; i++) s[i] = cap_score(a, s[i]);
#pragma unroll
    for (int i = 0; i < 4; i++)
      if ((unsigned)(key + i % 2 + i / 2 * 8) >= (unsigned)(end - begin)) s[i] = negative_infinity();
    const float top = fmaxf(level, warp_max<4>(fmaxf(fmaxf(s[0], s[1]), fmaxf(s[2], s[3]))) - HEADROOM);
    const float base = top == negative_infinity() ? 0 : top, shrink = exp2f(level - base);
    level = top;
    total *= shrink;
#pragma unroll
    for (int i = 0; i < 4; i++) s[i] = exp2f(s[i] - base), total += s[i];
    const int lane = threadIdx.x % 4 * 8;  // of head 2 t
    const float left = __shfl_sync(~0u, shrink, lane), right = __shfl_sync(~0u, shrink, lane + 4);
#pragma unroll
    for (int m = 0; m < D / 16; m++) sum[m][0] *= left, sum[m][1] *= right, sum[m][2] *= left, sum[m][3] *= right;
  }
  // The warp's result of the first n heads.
  template <int STRIDE> __device__ __forceinline__ void store(float2* states, float (*sums)[STRIDE], int n) const {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const float all = warp_sum<4>(total);
    if (t == 0) states[g] = make_float2(level, all);
#pragma unroll
    for (int h = 0; h < 2; h++)
      if (2 * t + h < n)
#pragma unroll
        for (int c = 0; c < D / 32; c++)
          *(float4*)(sums[2 * t + h] + 32 * c + 4 * g) = make_float4(sum[2 * c][h], sum[2 * c][h + 2], sum[2 * c + 1][h], sum[2 * c + 1][h + 2]);
  }
};

// Where one KV head's rows lie. Keys begin <= key < end are in the cache, seen, and the part's.
struct KeyRows {
  const unsigned char *k, *v;
  const int* pages;
  int begin, end;

  __device__ __forceinline__ bool has(int key) const { return (unsigned)(key - begin) < (unsigned)(end - begin); }
  // The row of a batch's first key; a batch lies in one page.
  __device__ __forceinline__ int row_of(const Attention& a, int first) const {
    return first < end ? (pages[first / a.page_size] * a.n_head_kv + (int)blockIdx.y) * a.page_size + first % a.page_size : 0;
  }
};

// The scales of 16 rows' blocks: lane 4 g + t has those of blocks t, t + 4 ... of rows g (low half) and g + 8.
template <int CHUNKS> struct Scales {
  unsigned pair[(CHUNKS + 3) / 4];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int j = 0; j < (CHUNKS + 3) / 4; j++) pair[j] = 0;
  }
  __device__ __forceinline__ void load(int i, const unsigned char* row) {
#pragma unroll
    for (int j = 0; j < (CHUNKS + 3) / 4; j++) {
      const int chunk = threadIdx.x % 4 + 4 * j;
      if (chunk < CHUNKS) {
        const unsigned scale = *(const unsigned short*)(row + chunk * CacheQ8_0::BYTES);
        pair[j] = i ? (pair[j] & 0xffff) | scale << 16 : (pair[j] & ~0xffffu) | scale;
      }
    }
  }
  // Those of this lane's values.
  __device__ __forceinline__ void get(int chunk, float (&scale)[4]) const {
    const int lane = threadIdx.x % 4 * 8 + chunk % 4;
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const unsigned of_row = __shfl_sync(~0u, pair[chunk / 4], lane + 4 * i);
      const float2 x = __half22float2(*(const __half2*)&of_row);
      scale[i] = x.x, scale[i + 2] = x.y;
    }
  }
};

// 16 keys and values. Those that aren't seen are zeros.
template <class Cache, int D> struct Batch {
  typedef Cells<Cache, D> C;
  static constexpr int CHUNKS = D / 32, BYTES = ROW_BYTES<Cache, D>;
  typename C::Eight k[2][CHUNKS];
  typename C::Four v[4][CHUNKS];
  Scales<CHUNKS> k_scales, v_scales;

  __device__ __forceinline__ static int key_of(int i) { return threadIdx.x % 32 / 4 + 8 * i; }
  __device__ __forceinline__ static int value_of(int i) { return threadIdx.x % 4 * 2 + i % 2 + i / 2 * 8; }

  __device__ __forceinline__ void load_key(int i, const unsigned char* row) {
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) k[i][c] = C::eight(row, c, threadIdx.x % 4);
    if (C::HAS_SCALE) k_scales.load(i, row);
  }
  __device__ __forceinline__ void load_value(int i, const unsigned char* row) {
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) v[i][c] = C::four(row, c, threadIdx.x % 32 / 4);
  }
  __device__ __forceinline__ void load_keys(const KeyRows& rows, int first, int row0) {
    const unsigned char* row = rows.k + (long long)row0 * BYTES + key_of(0) * BYTES;
    k_scales.clear();
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
      for (int c = 0; c < CHUNKS; c++) k[i][c] = {};
      if (rows.has(first + key_of(i))) load_key(i, row + 8 * i * BYTES);
    }
  }
  __device__ __forceinline__ void load_values(const KeyRows& rows, int first, int row0) {
    const unsigned char* row = rows.v + (long long)row0 * BYTES;
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
      for (int c = 0; c < CHUNKS; c++) v[i][c] = {};
      if (rows.has(first + value_of(i))) load_value(i, row + value_of(0) * BYTES + (i % 2 + i / 2 * 8) * BYTES);
    }
    v_scales.clear();
    if (C::HAS_SCALE)
#pragma unroll
      for (int i = 0; i < 2; i++)
        if (rows.has(first + key_of(i))) v_scales.load(i, row + key_of(0) * BYTES + 8 * i * BYTES);
  }
  // The new row, which is the batch's key `place`.
  __device__ __forceinline__ void put(const unsigned char* key, const unsigned char* value, int place) {
#pragma unroll
    for (int i = 0; i < 2; i++)
      if (key_of(i) == place) {
        load_key(i, key);
        if (C::HAS_SCALE) v_scales.load(i, value);
      }
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (value_of(i) == place) load_value(i, value);
  }

  __device__ __forceinline__ void scores(const Query<D>& query, float (&s)[4]) const {
    const __half* q = query.x[threadIdx.x % 32 / 4] + 16 * (threadIdx.x % 4);
    float product[2][4] = {};  // of keys 0 ... 7 and 8 ... 15: the high halves of q, then the low ones
#pragma unroll
    for (int i = 0; i < 4; i++) s[i] = 0;
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
      unsigned x[2][4];
      C::pairs(k[0][c], x[0]), C::pairs(k[1][c], x[1]);
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const uint4 w = *(const uint4*)(q + 64 * c + 8 * i);
        mma_m16n8k16_f16(product[0], {w.x, w.y, w.z, w.w}, {x[0][2 * i], x[0][2 * i + 1]});
        mma_m16n8k16_f16(product[1], {w.x, w.y, w.z, w.w}, {x[1][2 * i], x[1][2 * i + 1]});
      }
      if (C::HAS_SCALE || c == CHUNKS - 1) {
        float scale[4] = {1, 1, 1, 1};
        if (C::HAS_SCALE) k_scales.get(c, scale);
#pragma unroll
        for (int i = 0; i < 4; i++) {
          s[i] += (product[i / 2][i % 2] + product[i / 2][i % 2 + 2]) * scale[i];
          product[i / 2][i % 2] = product[i / 2][i % 2 + 2] = 0;
        }
      }
    }
  }
  __device__ __forceinline__ void add_values(State<D>& state, const float (&weight)[4]) const {
    unsigned high[2], low[2];
    if (!C::HAS_SCALE) split(weight[0], weight[1], high[0], low[0]), split(weight[2], weight[3], high[1], low[1]);
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
      if (C::HAS_SCALE) {
        float w[4];
        v_scales.get(c, w);
#pragma unroll
        for (int i = 0; i < 4; i++) w[i] *= weight[i];
        split(w[0], w[1], high[0], low[0]), split(w[2], w[3], high[1], low[1]);
      }
      unsigned x[4][2];
#pragma unroll
      for (int i = 0; i < 4; i++) C::pairs(v[i][c], x[i]);
#pragma unroll
      for (int m = 0; m < 2; m++) {
        const unsigned rows[4] = {__byte_perm(x[0][m], x[1][m], 0x5410), __byte_perm(x[0][m], x[1][m], 0x7632),
                                  __byte_perm(x[2][m], x[3][m], 0x5410), __byte_perm(x[2][m], x[3][m], 0x7632)};
        mma_m16n8k16_f16(state.sum[2 * c + m], rows, high);
        mma_m16n8k16_f16(state.sum[2 * c + m], rows, low);
      }
    }
  }
};
