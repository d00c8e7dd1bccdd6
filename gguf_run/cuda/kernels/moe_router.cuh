// moe_router.cuh: the experts of a token and their weights, by one warp.
//
// score = softmax, sigmoid or sqrt(softplus) of the logits, or the logits themselves (Gating); the k experts of the
// largest score + bias are chosen, the lower index first among equals, from the groups whose two best have the largest
// sums; weight = score (for the logits: their softmax over the chosen), over the sum of all k where that is asked for,
// times `scale`                                                                                   (arXiv:2412.19437)
#pragma once
#include "functions.cuh"
#include "keys.cuh"
#include "ptx.cuh"

enum Gating { SOFTMAX, SIGMOID, SOFTMAX_SELECTED, SQRT_SOFTPLUS };

struct Router {  // passed by value; the wrapper (ops/moe.py) packs it
  int n_expert, k, gating, normalise, n_group, n_group_used;
  float scale, least_sum;
};

__device__ __forceinline__ float lowest() { return __int_as_float(0xff800000); }  // -infinity

// Over the 32 lanes' maxima and sums of exp(x - top): what softmax needs of a row.
struct Total {
  float top, sum;
};

template <int PER_LANE> __device__ __forceinline__ Total total_of(const float (&x)[PER_LANE]) {
  float top = x[0];
#pragma unroll
  for (int i = 1; i < PER_LANE; i++) top = fmaxf(top, x[i]);
  top = warp_max(top);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < PER_LANE; i++) sum += expf(x[i] - top);
  return {top, warp_sum(sum)};
}

__device__ __forceinline__ float score_of(float logit, int gating, Total total) {
  if (gating == SOFTMAX) return expf(logit - total.top) / total.sum;
  if (gating == SIGMOID) return sigmoid(logit);
  if (gating == SQRT_SOFTPLUS) return sqrtf(softplus(logit));
  return logit;
}

// Takes the largest element out, of equal ones that of the lowest column: its column, i * 32 + lane for element i of a
// lane. Elements are 1 + order_of(x); 0 stands for none.
template <int N> __device__ __forceinline__ int take_best(unsigned (&elements)[N], int lane) {
  unsigned top = elements[0];
#pragma unroll
  for (int i = 1; i < N; i++) top = max(top, elements[i]);
  top = warp_max_word(top);
  unsigned column = ~0u;
#pragma unroll
  for (int i = N - 1; i >= 0; i--) column = elements[i] == top ? i * 32 + lane : column;
  column = warp_min_word(column);
#pragma unroll
  for (int i = 0; i < N; i++) elements[i] = i * 32 + lane == column ? 0 : elements[i];
  return (int)column;
}

// The bits of the groups that are chosen from; scores of all experts, bias included, stand in shared memory.
__device__ __forceinline__ unsigned best_groups(const float* scores, Router p, int lane) {
  const int size = p.n_expert / p.n_group;
  unsigned sums[1] = {0};
  if (lane < p.n_group) {
    float first = lowest(), second = lowest();
#pragma unroll 1
    for (int i = 0; i < size; i++) {
      const float s = scores[lane * size + i];
      second = fmaxf(second, fminf(first, s));
      first = fmaxf(first, s);
    }
    sums[0] = 1 + order_of(first + second);
  }
  unsigned chosen = 0;
#pragma unroll 1
  for (int rank = 0; rank < p.n_group_used; rank++) chosen |= 1u << take_best(sums, lane);
  return chosen;
}

// The expert that is `lane`th best, of the first k lanes. `scratch`: n_expert floats of shared memory of this warp.
template <int PER_LANE>
__device__ __forceinline__ int choose(
    const float (&logits)[PER_LANE], Total total, const float* bias, Router p, float* scratch, int lane) {
  float scores[PER_LANE];
#pragma unroll
  for (int i = 0; i < PER_LANE; i++) {
    const int e = i * 32 + lane;
    scores[i] = score_of(logits[i], p.gating, total) + (bias && e < p.n_expert ? bias[e] : 0.0f);
    if (p.n_group > 1 && e < p.n_expert) scratch[e] = scores[i];
  }
  unsigned groups = ~0u;
  if (p.n_group > 1) {
    __syncwarp();
    groups = best_groups(scratch, p, lane);
  }
  const int size = p.n_expert / p.n_group;
  unsigned open[PER_LANE];
#pragma unroll
  for (int i = 0; i < PER_LANE; i++) {
    const int e = i * 32 + lane;
    const bool in_group = p.n_group == 1 || groups >> (e / size & 31) & 1;
    open[i] = e >= p.n_expert ? 0 : 1 + order_of(in_group ? scores[i] : lowest());
  }
  int mine = 0;
  for (int rank = 0; rank < p.k; rank++) {
    const int best = take_best(open, lane);
    if (lane == rank) mine = best;
  }
  return mine;
}

// The weight of the expert with this logit; one expert a lane, of the first k.
__device__ __forceinline__ float weigh(float logit, Total total, Router p, int lane) {
  const bool used = lane < p.k;
  float weight = used ? score_of(logit, p.gating, total) : 0.0f;
  if (p.gating == SOFTMAX_SELECTED) {
    const float top = warp_max(used ? logit : lowest());
    weight = used ? expf(logit - top) : 0.0f;
    weight /= warp_sum(weight);
  }
  if (p.normalise) weight /= fmaxf(warp_sum(weight), p.least_sum);
  return weight * p.scale;
}
