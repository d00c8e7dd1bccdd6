// The experts of each token and their weights (Graph.moe_ids, Graph.moe_weights):
// moe_router_f32: both; moe_ids_f32: only the experts; moe_weights_f32: only the weights, of given experts
// score = softmax, sigmoid or sqrt(softplus) of the logits, or the logits themselves (Gating); the k experts of the
// largest score + bias are chosen, the lower index first among equals, from the groups whose two best have the largest
// sums; weight = score (for the logits: their softmax over the chosen), over the sum of all k where that is asked for,
// times `scale`                                                                                   (arXiv:2412.19437)
// logits (n_tok, n_expert) f32, stride elements between rows; bias (n_expert) f32 or null; ids (n_tok, k) i32;
// weights (n_tok, k) f32; k <= 32, n_expert <= 32 * PER_LANE, p.n_group <= 32
// block = (32, tokens), grid = n_tok / tokens, rounded up: a warp a token
// latency-bound: two reductions for each of k
#include "moe_router.cuh"

template <int PER_LANE, bool IDS, bool WEIGHTS>
__device__ __forceinline__ void route(
    const float* logits, const float* bias, int* ids, float* weights, int n_tok, int stride, Router p) {
  constexpr int TOKENS = 8;
  __shared__ float scratch[IDS ? TOKENS : 1][IDS ? 32 * PER_LANE : 1];
  const int t = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
  if (t >= n_tok) return;
  const float* row = logits + (long long)t * stride;
  float x[PER_LANE];
#pragma unroll
  for (int i = 0; i < PER_LANE; i++) x[i] = i * 32 + lane < p.n_expert ? row[i * 32 + lane] : lowest();
  Total total = {};
  if (p.gating == SOFTMAX) total = total_of(x);
  int* const chosen = ids + (long long)t * p.k + lane;
  int expert = 0;
  if (IDS) {
    expert = choose(x, total, bias, p, scratch[threadIdx.y], lane);
    if (lane < p.k) *chosen = expert;
  } else if (lane < p.k) {
    expert = *chosen;
  }
  if (WEIGHTS) {
    const float weight = weigh(lane < p.k ? row[expert] : 0.0f, total, p, lane);
    if (lane < p.k) weights[(long long)t * p.k + lane] = weight;
  }
}

template <int PER_LANE>
__global__ void __launch_bounds__(256, 1) moe_router_f32(
    const float* __restrict__ logits, const float* __restrict__ bias, int* __restrict__ ids,
    float* __restrict__ weights, int n_tok, int stride, Router p) {
  route<PER_LANE, true, true>(logits, bias, ids, weights, n_tok, stride, p);
}

template <int PER_LANE>
__global__ void __launch_bounds__(256, 1) moe_ids_f32(
    const float* __restrict__ logits, const float* __restrict__ bias, int* __restrict__ ids, int n_tok, int stride,
    Router p) {
  route<PER_LANE, true, false>(logits, bias, ids, nullptr, n_tok, stride, p);
}

template <int PER_LANE>
__global__ void __launch_bounds__(256, 1) moe_weights_f32(
    const float* __restrict__ logits, int* __restrict__ ids, float* __restrict__ weights, int n_tok, int stride,
    Router p) {
  route<PER_LANE, false, true>(logits, nullptr, ids, weights, n_tok, stride, p);
}
