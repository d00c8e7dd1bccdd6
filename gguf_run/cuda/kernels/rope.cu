// rope_f32: y[t, h, :] = rotation of x[t, h, :] by positions[t]
// x (n_tok, n_head, head_dim) f32 with strides of tokens and heads in elements; y the same shape without gaps;
// positions (n_tok) i32; factors (n_dims / 2) f32 or null
// grid = (n_tok, ceil(n_head / heads)), block = 128, shared memory = n_dims / 2 float2: each block computes the turns
// of one token once, and applies them to `heads` heads
// latency-bound at one token, memory-bound at many: reads x twice (the second time from L1), writes y once
#include "rope.cuh"
#include "ptx.cuh"

extern "C" __global__ void __launch_bounds__(128) rope_f32(
    const float* __restrict__ x, const int* __restrict__ positions, const float* __restrict__ factors,
    float* __restrict__ y, Rope rope, int n_head, int head_dim, int heads, long long stride_tok, long long stride_head) {
  extern __shared__ float2 turns[];
  const int tok = blockIdx.x, first = blockIdx.y * heads, n = min(heads, n_head - first);
  rope_turns(turns, rope, positions[tok], factors);
  __syncthreads();
  x += tok * stride_tok + first * stride_head;
  y += ((long long)tok * n_head + first) * head_dim;
  for (int i = threadIdx.x; i < n * head_dim; i += blockDim.x) {
    const int head = i / head_dim;
    y[i] = rope_element(x + head * stride_head, i - head * head_dim, rope, turns);
  }
}
