// flash_attn_combine_f32: merges the parts of a split attention
// out[r, :] = sum_s 2^(m[r, s] - top) sums[r, s, :] / (sum_s 2^(m[r, s] - top) l[r, s] + the sink's share)
// workspace as flash_attn.cuh's Partial lays it out; sinks (n_head) f32 or null; out (n_row, d_v) f32
// grid = n_row = n_tok * n_head, block = 128, shared memory = n_split floats, rounded up to eight
// latency-bound: reads the parts once, from L2
#include "flash_attn.cuh"

// `workspace` isn't restrict: what is still being written when this kernel starts must not be read as a constant.
extern "C" __global__ void __launch_bounds__(128) flash_attn_combine_f32(
    float* workspace, const float* __restrict__ sinks, float* __restrict__ out, Attention a, int d_v) {
  extern __shared__ float weight[];
  pdl_trigger();
  pdl_wait();
  const long long row = blockIdx.x;
  const Partial partial(workspace, a);
  const float2* state = partial.state + row * a.n_split;
  float m = negative_infinity(), l = 0;
  for (int s = threadIdx.x; s < a.n_split; s += blockDim.x) m = fmaxf(m, state[s].x);
  m = block_max<4>(m);
  for (int s = threadIdx.x; s < a.n_split; s += blockDim.x) {
    const float2 part = state[s];
    weight[s] = part.y > 0 ? exp2f(part.x - m) : 0;
    l += weight[s] * part.y;
  }
  l = block_sum<4>(l);  // its barriers also order `weight`
  const float factor = final_factor(m, l, sinks, row % a.n_head);
  for (int i = threadIdx.x; i < d_v; i += blockDim.x) {
    const float* sums = partial.sums + row * a.n_split * d_v + i;
    float sum = 0;
#pragma unroll 8
    for (int s = 0; s < a.n_split; s++)
      if (weight[s] > 0) sum += weight[s] * sums[(long long)s * d_v];
    out[row * d_v + i] = sum * factor;
  }
}
