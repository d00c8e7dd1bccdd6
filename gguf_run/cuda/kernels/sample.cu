// sample: a token of each row of logits x, drawn as the host's chain draws it (gguf_run/sampling), in two launches
// x, bias (n_rows, n_col) f32, x with a row stride; counts (n_rows, n_col) i32; sampler (n_rows, 8) f32 (`Sampler`);
// draw (n_rows, 2) i32: u * 2^64 in two words, the low one first; out (n_rows) i32, -1 where the highest logit is
// infinite. Equal logits stand in the order of their columns, NaN behind everything else (keys.cuh).
// Every rounding is the host's: no fused multiply-add where it rounds twice, exp in f64, sums in the candidates' order.
//
// sample_parts_f32: biased and penalised logits; of each PART columns the keys that may be among the row's top_k
//   grid = (n_part, n_rows), n_part = ceil(n_col / PART), block = 256
//   kept (n_rows, n_part, PART) keys, of which n_kept (n_rows, n_part) i32 are written, in any order
//   memory-bound: reads x and bias once, and counts where there are penalties
// sample_draw: the row's top_k of those, sorted; top-p, min-p, temperature; the draw
//   grid = n_rows, block = 1024, dependent on the launch of sample_parts_f32
//   latency-bound: sums of top_k numbers one by one
#include "ptx.cuh"
#include "sample.cuh"
#include "sort.cuh"

constexpr int MAX_K = 256;  // candidates
constexpr int NEAR = 4096;  // keys that are sorted, at most

// A key that at least k of the threads' `best` reach, and not many more of them; 0 where fewer than k have any.
template <int N_WARPS> __device__ __forceinline__ Key reached_by(int k, Key best) {
  Key low = 0, high = block_max<N_WARPS>(best) + 1;
  int n = N_WARPS * 32;  // reach `low`
  while (n > k + k / 4 && high - low > 1) {
    const Key middle = low + (high - low) / 2;
    const int count = __syncthreads_count(best >= middle);
    if (count >= k)
      low = middle, n = count;
    else
      high = middle;
  }
  return low;
}

extern "C" __global__ void __launch_bounds__(256) sample_parts_f32(
    const float* __restrict__ x, const float* __restrict__ bias, const int* __restrict__ counts,
    const Sampler* __restrict__ sampler, Key* __restrict__ kept, int* __restrict__ n_kept, int n_col, int row_stride) {
  __shared__ int n;
  pdl_trigger();
  const Sampler s = sampler[blockIdx.y];
  const Logits logits = {x, bias, counts, n_col, row_stride, s};
  Key keys[PER_THREAD], best = 0;
#pragma unroll
  for (int i = 0; i < PER_THREAD; i++) {
    const int column = blockIdx.x * PART + i * 256 + threadIdx.x;
    keys[i] = column < n_col ? key_of(logits.at(blockIdx.y, column), column) : 0;
    best = max(best, keys[i]);
  }
  if (threadIdx.x == 0) n = 0;
  const Key least = max(reached_by<8>(s.k(), best), (Key)1);  // its barriers are behind n = 0
  kept += ((long long)blockIdx.y * gridDim.x + blockIdx.x) * PART;
#pragma unroll
  for (int i = 0; i < PER_THREAD; i++)
    if (keys[i] >= least) kept[atomicAdd(&n, 1)] = keys[i];
  __syncthreads();
  if (threadIdx.x == 0) n_kept[blockIdx.y * gridDim.x + blockIdx.x] = n;
}

// The keys that sample_parts_f32 kept of a row. A warp looks at whole parts.
struct Kept {
  const Key* keys;  // not restrict: written by the launch ahead, so no loads that bypass coherence
  const int* n;
  int n_part;
  template <class F> __device__ __forceinline__ void each(F f) const {
    for (int part = threadIdx.x / 32; part < n_part; part += 32)
      for (int i = threadIdx.x % 32; i < n[part]; i += 32) f(keys[(long long)part * PART + i]);
  }
};

// Raises `least`, which more than NEAR keys reach, until no more than NEAR do and yet k or more.
__device__ __forceinline__ Key raised(const Kept& kept, Key least, int k) {
  Key high = 0;
  kept.each([&](Key key) { high = max(high, key); });
  high = block_max<32>(high) + 1;
  for (;;) {
    const Key middle = least + (high - least) / 2;
    int n = 0;
    kept.each([&](Key key) { n += key >= middle; });
    n = block_sum<32>(n);
    if (n >= k)
      least = middle;
    else
      high = middle;
    if (n >= k && n <= NEAR) return least;
  }
}

// Copies the row's keys that may be among its first k to `near`, then sorts them -> how many they are.
__device__ __forceinline__ int sort_nearest(const Kept& kept, int k, Key* near, int* count) {
  Key best = 0;
  kept.each([&](Key key) { best = max(best, key); });
  Key least = reached_by<32>(k, best);
  for (;;) {
    __syncthreads();
    if (threadIdx.x == 0) *count = 0;
    __syncthreads();
    kept.each([&](Key key) {
      if (key < least) return;
      const int at = atomicAdd(count, 1);
      if (at < NEAR) near[at] = key;
    });
    __syncthreads();
    if (*count <= NEAR) break;
    least = raised(kept, least, k);
  }
  const int n = *count;
  int size = 2;
  while (size < n) size *= 2;
  for (int i = n + threadIdx.x; i < size; i += 1024) near[i] = 0;
  __syncthreads();
  bitonic_sort(near, size);
  return n;
}

// Sums of weights[0 .. n), padded by zeros to a multiple of 8, one addition after the other.
template <class T> __device__ __forceinline__ T sum_in_order(const float* weights, int n) {
  T sum = 0;
  for (int start = 0; start < n; start += 8)
#pragma unroll
    for (int i = start; i < start + 8; i++) sum = sum + (T)weights[i];
  return sum;
}

// The least number of leading weights whose sum reaches `target`, at_least or more of them; n where none does.
template <class T> __device__ __forceinline__ int count_until(const float* weights, int n, T target, int at_least) {
  T sum = 0;
  for (int i = 0; i < n; i++) {
    sum = sum + (T)weights[i];
    if (sum >= target && i + 1 >= at_least) return i + 1;
  }
  return n;
}

extern "C" __global__ void __launch_bounds__(1024, 1) sample_draw(
    const Key* kept_keys, const int* n_kept, const Sampler* sampler, const uint2* draw, int* out, int n_part) {
  __shared__ Key near[NEAR];
  __shared__ float logits[MAX_K], weights[MAX_K + 8];
  __shared__ int shared_n;
  __shared__ float shared_sum;
  pdl_wait();
  const int row = blockIdx.x, t = threadIdx.x;
  const Sampler s = sampler[row];
  const long long first = (long long)row * n_part;
  const Kept kept = {kept_keys + first * PART, n_kept + first, n_part};
  int n = min(s.k(), sort_nearest(kept, s.k(), near, &shared_n));
  if (t < MAX_K) logits[t] = t < n ? value_of(near[t]) : 0.0f;
  if (t < MAX_K + 8) weights[t] = 0;
  __syncthreads();
  const float top = logits[0];
  if (isinf(top)) {
    if (t == 0) out[row] = -1;
    return;
  }
  if (s.top_p <= 1) {
    if (t < n) weights[t] = weight(logits[t], top);
    __syncthreads();
    if (t == 0) shared_sum = sum_in_order<float>(weights, n);
    __syncthreads();
    if (t < n) weights[t] = __fdiv_rn(weights[t], shared_sum);
    __syncthreads();
    if (t == 0) shared_n = count_until(weights, n, s.top_p, (int)s.min_keep);
    __syncthreads();
    n = shared_n;
  }
  const int likely = __syncthreads_count(t < n && logits[min(t, MAX_K - 1)] >= __fadd_rn(top, s.log_min_p));
  n = min(n, max(likely, (int)s.min_keep));
  const float hottest = __fdiv_rn(top, s.temperature);
  if (!(s.temperature > 0 && isfinite(hottest))) n = 1;
  if (t < MAX_K + 8) weights[t] = t < n && t ? weight(__fdiv_rn(logits[min(t, MAX_K - 1)], s.temperature), hottest) : t == 0;
  __syncthreads();
  if (t == 0) {
    const double target = sum_in_order<double>(weights, n) * uniform(draw[row]);
    out[row] = column_of(near[count_until(weights, n, target, 0) - 1]);
  }
}
