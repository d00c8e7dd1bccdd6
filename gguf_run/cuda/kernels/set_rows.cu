// set_rows<Cache>: row slots[t] of cache head h = rows[t, h, :], as the cache's type stores it
// rope_set_rows<Cache>: the same with rows rotated by positions[t] (rope.cuh)
// rows (n_tok, n_head, n_col) f32 with strides of tokens and heads in elements; slots, positions (n_tok) i32, a slot
// of -1 is no row; cache (n_page, n_head, page_size, n_col) without gaps; blocks of 32: n_col % 32 == 0
// grid = (n_tok, ceil(n_head / heads)), block = 128: a warp stores 32 elements at a time
// latency-bound at one token, memory-bound at many
#include "cache_types.cuh"
#include "ptx.cuh"
#include "rope.cuh"

// Calls element(row of this head, column) for each element of the block's heads and stores what it returns.
template <class Cache, class Element>
__device__ __forceinline__ void store_rows(
    const float* rows, unsigned char* cache, int slot, int n_head, int n_col, int heads, int page_size,
    long long stride_head, Element element) {
  const int lane = threadIdx.x % 32, n_chunk = (n_col + 31) / 32;
  const int first = blockIdx.y * heads, n = min(heads, n_head - first);
  const long long row_bytes = (long long)n_col / Cache::SIZE * Cache::BYTES;
  for (int chunk = threadIdx.x / 32; chunk < n * n_chunk; chunk += blockDim.x / 32) {
    const int head = first + chunk / n_chunk, i = chunk % n_chunk * 32 + lane;
    unsigned char* row = cache + cache_row(slot, head, n_head, page_size) * row_bytes;
    Cache::put(row, i, n_col, i < n_col ? element(rows + head * stride_head, i) : 0.0f);
  }
}

template <class Cache>
__global__ void __launch_bounds__(128) set_rows(
    const float* __restrict__ rows, const int* __restrict__ slots, unsigned char* __restrict__ cache, int n_head,
    int n_col, int heads, int page_size, long long stride_tok, long long stride_head) {
  const int slot = slots[blockIdx.x];
  if (slot < 0) return;
  rows += blockIdx.x * stride_tok;
  store_rows<Cache>(rows, cache, slot, n_head, n_col, heads, page_size, stride_head,
                    [](const float* row, int i) { return row[i]; });
}

template <class Cache>
__global__ void __launch_bounds__(128) rope_set_rows(
    const float* __restrict__ rows, const int* __restrict__ positions, const float* __restrict__ factors,
    const int* __restrict__ slots, unsigned char* __restrict__ cache, Rope rope, int n_head, int n_col, int heads,
    int page_size, long long stride_tok, long long stride_head) {
  extern __shared__ float2 turns[];
  const int slot = slots[blockIdx.x];
  if (slot < 0) return;
  rope_turns(turns, rope, positions[blockIdx.x], factors);
  __syncthreads();
  rows += blockIdx.x * stride_tok;
  store_rows<Cache>(rows, cache, slot, n_head, n_col, heads, page_size, stride_head,
                    [&](const float* row, int i) { return rope_element(row, i, rope, turns); });
}
