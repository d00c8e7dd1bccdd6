// rope_append: what many tokens do before attention: q and k normalised where wq and wk aren't null (norm.cu), rotated
// (rope.cuh); q stored, k and v appended to their caches (set_rows.cu)
// q (n_tok, n_head, size), k, v (n_tok, n_kv, size) f32 with strides of tokens and heads in elements, multiples of four; wq, wk
// (size) f32; positions, slots (n_tok) i32, a slot of -1 is no row; factors (n_dims / 2) f32 or null; q_out as q without gaps;
// caches (n_page, n_kv, page_size, size) of type Cache without gaps; size % 4 == 0, <= 4 LANES REGISTERS; n_dims % 4 == 0,
// where pairs are halves % 8 == 0, and if n_dims > 128 it is 256
// grid = (n_tok, shares of the heads), block = 256: LANES lanes a head, four neighbouring elements a lane in each of REGISTERS
// runs of 128; shared memory = n_dims / 2 float2
// memory-bound: reads q, k and v once, the next head while one is rotated; writes each once
#include "cache_types.cuh"
#include "rope.cuh"

struct Heads {  // passed by value; the wrapper (ops/flash_attn_append.py) packs it
  long long q_tok, q_head, k_tok, k_head, v_tok, v_head;
  float q_eps, k_eps;
  int n_head, n_kv, size, page_size;
};

// Four neighbours from column c on of a row of numbers.
__device__ __forceinline__ void put_four(CacheF32*, unsigned char* row, int c, const float (&x)[4]) {
  *(float4*)(row + 4 * c) = make_float4(x[0], x[1], x[2], x[3]);
}
__device__ __forceinline__ void put_four(CacheF16*, unsigned char* row, int c, const float (&x)[4]) {
  const half2 pairs[2] = {__floats2half2_rn(x[0], x[1]), __floats2half2_rn(x[2], x[3])};
  *(uint2*)(row + 2 * c) = *(const uint2*)pairs;
}
__device__ __forceinline__ void put_four(void*, unsigned char*, int, const float (&)[4]) {}  // blocks take more

// x, a lane's share of a head, rotated; the whole warp calls it, and what `stays` does.
template <int LANES, int REGISTERS>
__device__ __forceinline__ void rotate(float (&x)[REGISTERS][4], const Rope& rope, const float2* turns, int in_head, bool stays) {
  const int half = rope.n_dims / 2;
  if (!rope.neox) {
#pragma unroll
    for (int r = 0; r < REGISTERS; r++)
#pragma unroll
      for (int i = 0; i < 4; i += 2) {
        const int c = 128 * r + 4 * in_head + i;
        if (stays || c >= rope.n_dims) continue;
        const float2 turn = turns[c / 2];
        const float a = x[r][i], b = x[r][i + 1];
        x[r][i] = a * turn.x - b * turn.y;
        x[r][i + 1] = b * turn.x + a * turn.y;
      }
    return;
  }
  if (REGISTERS == 2 && half == 128) {  // both of a pair are this lane's
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float2 turn = turns[4 * in_head + i];
      const float a = x[0][i], b = x[REGISTERS - 1][i];
      if (stays) continue;
      x[0][i] = a * turn.x - b * turn.y;
      x[REGISTERS - 1][i] = b * turn.x + a * turn.y;
    }
    return;
  }
  const int c = 4 * in_head, lane = threadIdx.x % 32;
  const bool turned = c < rope.n_dims, second = c >= half;
  const int from = !turned ? lane : second ? lane - half / 4 : lane + half / 4;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float other = __shfl_sync(~0u, x[0][i], from);
    if (stays || !turned) continue;
    const float2 turn = turns[second ? c - half + i : c + i];
    x[0][i] = x[0][i] * turn.x + (second ? other : -other) * turn.y;
  }
}

// Where registers allow, as many blocks as an SM has threads for: each waits for its heads most of the time.
template <class Cache, int REGISTERS> constexpr int PER_SM = __CUDA_ARCH__ == 900 && REGISTERS == 1 && Cache::SIZE == 1 ? 8 : 1;

template <class Cache, int LANES, int REGISTERS>
__global__ void __launch_bounds__(256, (PER_SM<Cache, REGISTERS>))
rope_append(const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v,
            const float* __restrict__ wq, const float* __restrict__ wk, const int* __restrict__ positions,
            const int* __restrict__ slots, const float* __restrict__ factors, float* __restrict__ q_out,
            unsigned char* __restrict__ k_cache, unsigned char* __restrict__ v_cache, Rope rope, Heads s) {
  extern __shared__ float2 turns[];
  pdl_trigger();
  constexpr int PER_WARP = 32 / LANES, SIZE = 4 * LANES * REGISTERS;  // heads of a warp; room for one
  constexpr bool STAGED = Cache::SIZE > 1;
  __shared__ float staged[STAGED ? 8 : 1][STAGED ? PER_WARP * SIZE : 1];
  const int tok = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32, in_head = lane % LANES;
  const int n_all = s.n_head + 2 * s.n_kv, stride = gridDim.y * 8 * PER_WARP;
  const int slot = slots[tok];
  const auto column = [&](int r) { return 128 * r + 4 * in_head; };
  const auto load = [&](float4 (&x)[REGISTERS], int head) {
    const bool is_q = head < s.n_head, is_k = !is_q && head < s.n_head + s.n_kv;
    const float* const row = is_q ? q + tok * s.q_tok + head * s.q_head
                           : is_k ? k + tok * s.k_tok + (head - s.n_head) * s.k_head
                                  : v + tok * s.v_tok + (head - s.n_head - s.n_kv) * s.v_head;
#pragma unroll
    for (int r = 0; r < REGISTERS; r++)
      x[r] = head < n_all && column(r) < s.size ? *(const float4*)(row + column(r)) : make_float4(0, 0, 0, 0);
  };
  int first = (blockIdx.y * 8 + warp) * PER_WARP;  // of the warp
  rope_turns(turns, rope, positions[tok], factors);
  pdl_wait();
  float4 next[REGISTERS];
  if (!STAGED) load(next, first + lane / LANES);
  __syncthreads();

  for (; first < n_all; first += stride) {
    const int head = first + lane / LANES;
    float x[REGISTERS][4];
    if (STAGED) load(next, head);  // not ahead: the divisions behind are calls, which registers wouldn't outlive
#pragma unroll
    for (int r = 0; r < REGISTERS; r++) x[r][0] = next[r].x, x[r][1] = next[r].y, x[r][2] = next[r].z, x[r][3] = next[r].w;
    if (!STAGED) load(next, head + stride);
    const bool is_q = head < s.n_head, is_v = head >= s.n_head + s.n_kv;
    const float* const w = is_q ? wq : wk;
    if (w) {  // of all lanes, though v has none
      float squares = 0;
#pragma unroll
      for (int r = 0; r < REGISTERS; r++)
#pragma unroll
        for (int i = 0; i < 4; i++) squares += x[r][i] * x[r][i];
      const float factor = rsqrtf(warp_sum<LANES>(squares) / s.size + (is_q ? s.q_eps : s.k_eps));
#pragma unroll
      for (int r = 0; r < REGISTERS; r++) {
        if (is_v || column(r) >= s.size) continue;
        const float4 weight = *(const float4*)(w + column(r));
        x[r][0] *= factor * weight.x, x[r][1] *= factor * weight.y, x[r][2] *= factor * weight.z, x[r][3] *= factor * weight.w;
      }
    }
    rotate<LANES, REGISTERS>(x, rope, turns, in_head, is_v);

    if (is_q) {
#pragma unroll
      for (int r = 0; r < REGISTERS; r++)
        if (column(r) < s.size)
          *(float4*)(q_out + ((long long)tok * s.n_head + head) * s.size + column(r)) = make_float4(x[r][0], x[r][1], x[r][2], x[r][3]);
    }
    if (slot < 0) continue;
    const auto row_of = [&](int h) {
      const bool to_v = h >= s.n_head + s.n_kv;
      const long long row = cache_row(slot, h - s.n_head - (to_v ? s.n_kv : 0), s.n_kv, s.page_size);
      return (to_v ? v_cache : k_cache) + row * (s.size / Cache::SIZE * Cache::BYTES);
    };
    if (!STAGED) {
      if (is_q || head >= n_all) continue;
#pragma unroll
      for (int r = 0; r < REGISTERS; r++)
        if (column(r) < s.size) put_four((Cache*)nullptr, row_of(head), column(r), x[r]);
      continue;
    }
    // A warp makes blocks of 32 neighbours, one a lane.
    float* const mine = staged[STAGED ? warp : 0];
#pragma unroll
    for (int r = 0; r < REGISTERS; r++)
#pragma unroll
      for (int i = 0; i < 4; i++)
        if (STAGED) mine[lane / LANES * SIZE + column(r) + i] = x[r][i];
    __syncwarp();
    for (int g = 0; g < PER_WARP; g++) {
      if (first + g < s.n_head || first + g >= n_all) continue;
      for (int i = lane; i < s.size; i += 32) Cache::put(row_of(first + g), i, s.size, mine[STAGED ? g * SIZE + i : 0]);
    }
    __syncwarp();  // the next heads are written over these
  }
}
