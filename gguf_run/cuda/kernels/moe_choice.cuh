// moe_choice.cuh: the experts of a token and their weights as moe_router.cuh has them, by a block: in little time and code,
// for kernels that can go on only once the experts are known.
#pragma once
#include "moe_router.cuh"

// Among at most 512 experts. Where scores rise with the logits, these are compared themselves.
template <int THREADS> struct Choice {
  static constexpr int MOST = 512, E = MOST / THREADS;
  float logits[MOST], scores[MOST];
  unsigned order[MOST];
  unsigned groups;
  int experts[32];

  // All threads call it; then `experts` are there for all of them.
  __device__ __forceinline__ void make(const float* from, const float* bias, Router p) {
    const bool plain = (p.gating == SOFTMAX || p.gating == SOFTMAX_SELECTED) && !bias && p.n_group == 1;
    const int n = p.n_expert;
    if (plain) {
      if (threadIdx.x < 32) n <= 128 ? take<4>(from, p) : take<MOST / 32>(from, p);
      __syncthreads();
      return;
    }
#pragma unroll
    for (int i = 0; i < E; i++) {
      const int e = threadIdx.x + i * THREADS;
      logits[e] = e < n ? __ldcg(from + e) : lowest();
    }
    __syncthreads();
    const Total total = p.gating == SOFTMAX ? total_of_row(n) : Total{};
#pragma unroll 1
    for (int i = 0; i < E; i++) {
      const int e = threadIdx.x + i * THREADS;
      const float score = score_of(logits[e], p.gating, total) + (bias && e < n ? bias[e] : 0.0f);
      scores[e] = score;
      order[e] = e < n ? 1 + order_of(score) : 0;
    }
    __syncthreads();
    if (p.n_group > 1) {
      if (threadIdx.x < 32) {
        const unsigned found = best_groups(scores, p, threadIdx.x);
        if (threadIdx.x == 0) groups = found;
      }
      __syncthreads();
      const int size = n / p.n_group;
      for (int e = threadIdx.x; e < n; e += THREADS)
        if (!(groups >> (e / size & 31) & 1)) order[e] = 1 + order_of(lowest());
      __syncthreads();
    }
    // How many come before an expert.
#pragma unroll 1
    for (int e = threadIdx.x; e < n; e += THREADS) {
      const unsigned mine = order[e];
      int rank = 0;
#pragma unroll 4
      for (int i = 0; i < n; i += 4) {
        const uint4 four = *(const uint4*)(order + i);
        rank += (four.x + (i < e) > mine) + (four.y + (i + 1 < e) > mine) + (four.z + (i + 2 < e) > mine) + (four.w + (i + 3 < e) > mine);
      }
      if (rank < p.k) experts[rank] = e;
    }
    __syncthreads();
  }
  // The weight of the lane's expert, of the first k; a warp calls it behind `make`.
  __device__ __forceinline__ float weight(Router p) const {
    const int lane = threadIdx.x % 32;
    const Total total = p.gating == SOFTMAX ? total_of_row(p.n_expert) : Total{};
    return weigh(lane < p.k ? logits[experts[lane]] : 0.0f, total, p, lane);
  }

 private:
  // The k largest logits, one after the other: by one warp, which for so few takes less time than all.
  template <int N> __device__ __forceinline__ void take(const float* from, Router p) {
    const int lane = threadIdx.x;
    unsigned open[N];
#pragma unroll
    for (int i = 0; i < N; i++) {
      const int e = i * 32 + lane;
      const float x = e < p.n_expert ? __ldcg(from + e) : lowest();
      logits[e] = x;
      open[i] = e < p.n_expert ? 1 + order_of(x) : 0;
    }
    int mine = 0;
#pragma unroll 1
    for (int rank = 0; rank < p.k; rank++) {
      const int best = take_best(open, lane);
      if (lane == rank) mine = best;
    }
    experts[lane] = mine;
  }
  __device__ __forceinline__ Total total_of_row(int n) const {
    const int lane = threadIdx.x % 32;
    float top = lowest(), sum = 0;
#pragma unroll 1
    for (int e = lane; e < n; e += 32) top = fmaxf(top, logits[e]);
    top = warp_max(top);
#pragma unroll 1
    for (int e = lane; e < n; e += 32) sum += expf(logits[e] - top);
    return {top, warp_sum(sum)};
  }
};
