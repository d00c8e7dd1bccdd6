// sample_all: a token of each row of logits x, drawn among all of them in the order of their columns, as the host's
// chain without top-k and top-p draws it (gguf_run/sampling), in three launches
// x, bias (n_rows, n_col) f32, x with a row stride; counts (n_rows, n_col) i32; sampler (n_rows, 8) f32 (`Sampler`),
// of which min-p, temperature and penalties are read; draw (n_rows, 2) i32: u * 2^64 in two words, the low one first;
// out (n_rows) i32, -1 where the highest logit is infinite
// Weights are the host's, their sums f64 in another order: a draw that falls within 1e-15 of the border between two
// tokens may take the other one.
//
// sample_all_best: best (n_rows, n_part), the highest key (keys.cuh) of each PART columns, biased and penalised
// sample_all_sums: sums (n_rows, n_part) f64 of the weights of each part; sample_all_draw: part, then column
//   grid = (n_part, n_rows), n_part = ceil(n_col / PART), and n_rows for the last; block = 256
//   the second and third launch depend on the one ahead, and n_part is at most MAX_PART
//   memory-bound by x and bias, which the second launch reads from L2; counts are read where there are penalties
#include "ptx.cuh"
#include "sample.cuh"

constexpr int MAX_PART = 2048;

// Pointers to what the launch ahead writes are not restrict: no loads that bypass coherence.
__device__ __forceinline__ Key best_of(const Key* best, int n_part) {
  Key key = 0;
  for (int p = threadIdx.x; p < n_part; p += 256) key = max(key, best[p]);
  return block_max<8>(key);
}

// The weights of this thread's PER_THREAD neighbouring columns of a part.
__device__ __forceinline__ void weigh(const Logits& logits, int row, int part, Key best, float (&w)[PER_THREAD]) {
  const Sampler& s = logits.s;
  const float top = value_of(best), hottest = __fdiv_rn(top, s.temperature);
  const bool one = !(s.temperature > 0 && isfinite(hottest));
#pragma unroll
  for (int i = 0; i < PER_THREAD; i++) {
    const int column = part * PART + threadIdx.x * PER_THREAD + i;
    const float logit = column < logits.n_col ? logits.at(row, column) : __int_as_float(0xff800000);
    const bool likely = logit >= __fadd_rn(top, s.log_min_p);
    w[i] = one ? column == column_of(best) : likely ? weight(__fdiv_rn(logit, s.temperature), hottest) : 0.0f;
  }
}

// Sums of the weights before this thread's in the part -> also the sum of all; the same bits in both launches.
__device__ __forceinline__ double before_mine(const float (&w)[PER_THREAD], double* total) {
  __shared__ double warps[8];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  double mine = 0;
#pragma unroll
  for (int i = 0; i < PER_THREAD; i++) mine += w[i];
  double sum = mine;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const double other = __shfl_up_sync(~0u, sum, step);
    if (lane >= step) sum += other;
  }
  if (lane == 31) warps[warp] = sum;
  const double before = __shfl_up_sync(~0u, sum, 1);
  __syncthreads();
  double ahead = 0, all = 0;
#pragma unroll
  for (int i = 0; i < 8; i++) {
    if (i == warp) ahead = all;
    all += warps[i];
  }
  *total = all;
  return lane ? ahead + before : ahead;
}

extern "C" __global__ void __launch_bounds__(256) sample_all_best(
    const float* __restrict__ x, const float* __restrict__ bias, const int* __restrict__ counts,
    const Sampler* __restrict__ sampler, Key* __restrict__ best, int n_col, int row_stride) {
  pdl_trigger();
  const int row = blockIdx.y;
  const Logits logits = {x, bias, counts, n_col, row_stride, sampler[row]};
  Key key = 0;
#pragma unroll
  for (int i = 0; i < PER_THREAD; i++) {
    const int column = blockIdx.x * PART + i * 256 + threadIdx.x;
    if (column < n_col) key = max(key, key_of(logits.at(row, column), column));
  }
  key = block_max<8>(key);
  if (threadIdx.x == 0) best[row * gridDim.x + blockIdx.x] = key;
}

extern "C" __global__ void __launch_bounds__(256) sample_all_sums(
    const float* x, const float* bias, const int* counts, const Sampler* sampler, const Key* best, double* sums,
    int n_col, int row_stride) {
  pdl_wait();
  pdl_trigger();
  const int row = blockIdx.y;
  const Logits logits = {x, bias, counts, n_col, row_stride, sampler[row]};
  const Key top = best_of(best + row * gridDim.x, gridDim.x);
  float w[PER_THREAD];
  double total;
  weigh(logits, row, blockIdx.x, top, w);
  before_mine(w, &total);
  if (threadIdx.x == 0) sums[row * gridDim.x + blockIdx.x] = total;
}

extern "C" __global__ void __launch_bounds__(256) sample_all_draw(
    const float* x, const float* bias, const int* counts, const Sampler* sampler, const Key* best, const double* sums,
    const uint2* draw, int* out, int n_col, int row_stride, int n_part) {
  __shared__ double until[MAX_PART];
  __shared__ int chosen;
  pdl_wait();
  const int row = blockIdx.x;
  const Logits logits = {x, bias, counts, n_col, row_stride, sampler[row]};
  const Key top = best_of(best + row * n_part, n_part);
  if (isinf(value_of(top))) {
    if (threadIdx.x == 0) out[row] = -1;
    return;
  }
  for (int p = threadIdx.x; p < n_part; p += 256) until[p] = sums[row * n_part + p];
  __syncthreads();
  if (threadIdx.x == 0) {
    chosen = n_part - 1;
    for (int p = 1; p < n_part; p++) until[p] += until[p - 1];
  }
  __syncthreads();
  const double target = until[n_part - 1] * uniform(draw[row]);
  for (int p = threadIdx.x; p < n_part; p += 256)
    if (until[p] >= target) atomicMin(&chosen, p);
  __syncthreads();
  float w[PER_THREAD];
  double total;
  weigh(logits, row, chosen, top, w);
  double sum = before_mine(w, &total);
  const double ahead = chosen ? until[chosen - 1] : 0.0;
  int column = n_col, last = -1;
#pragma unroll
  for (int i = 0; i < PER_THREAD; i++) {
    sum += w[i];
    if (w[i] > 0) {
      last = chosen * PART + threadIdx.x * PER_THREAD + i;
      if (column == n_col && ahead + sum >= target) column = last;
    }
  }
  column = ~block_max<8>(~column);
  last = block_max<8>(last);
  // By rounding the last sum may fall short of the target, as may a part without weights where the target is 0.
  if (threadIdx.x == 0) out[row] = column < n_col ? column : last >= 0 ? last : column_of(top);
}
