// mul_mat_id_sum_stream: y[r] = sum_p weights[p] * (w[e,r] . h[p] (+ add[e,r])) (+ residual[r]), e = ids[p], in the order of
// p, for one token; w quantised, h cast
// w (n_expert, n_out, n_chunk * 32): rows of planes (quants/planes.cuh); add (n_expert, n_out) f32 or null; h (n_used,
// n_chunk * 32) as in mul_mat_vec.cuh, without gaps; ids (n_used) i32; weights (n_used) f32; residual (n_out) f32 or null; y (n_out) f32
// grid = any, block = 32 * n_used * split <= 512; shared memory: see ops/stream_experts.py
// A block has an even share of the rows of all experts; the `split` warps of an expert share them, in tiles of `most` <=
// ROWS rows, eight lanes a row
// Launched with pdl=True. What ids hold before the wait is a guess by which weights are copied while the kernel ahead runs:
// PTX promises what that one wrote only behind the wait (a trigger orders nothing, with a fence ahead of it neither). So the
// guess is kept within w, ids are read again behind the wait, and where they differ the copies are made once more: no result
// depends on what was read early. A kernel ahead that writes ids before it triggers (mul_mat_id_glu_stream) makes it right
// memory-bound; behind the wait, latency-bound
#include "stream_experts.cuh"

constexpr int LANES = 8, SIDE = 32 / LANES, MAX_WARPS = 16;

template <class Q, int ROWS>
__global__ void __launch_bounds__(512, 1)
mul_mat_id_sum_stream(const uint8_t* __restrict__ w, const float* __restrict__ add, const uint8_t* __restrict__ h,
                      const int* ids, const float* __restrict__ weights, const float* __restrict__ residual,
                      float* __restrict__ y, int n_expert, int n_out, int n_chunk, int n_used, int most, int n_stage) {
  constexpr int PASSES = ROWS / SIDE;
  extern __shared__ __align__(128) uint8_t shared[];
  __shared__ unsigned long long full[MAX_WARPS][WARP_STAGES], rows_full;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, n_warp = blockDim.x / 32, split = n_warp / n_used, p = warp / split;
  const int n_block = n_chunk / Q::CHUNKS, row_bytes = Q::row_bytes(n_chunk), stage_bytes = most * row_bytes;
  const int row0 = (int)((unsigned)n_out * blockIdx.x / gridDim.x), n_row = (int)((unsigned)n_out * (blockIdx.x + 1) / gridDim.x) - row0;
  const int begin = n_row * (warp % split) / split, end = n_row * (warp % split + 1) / split;
  const int guess = min((unsigned)__ldcg(ids + p), n_expert - 1u);
  size_t expert_row = (size_t)guess * n_out + row0;

  const auto copy = [&](int t, uint8_t* target, unsigned long long* barrier) {
    const int first = begin + t * most, n = min(most, end - first);
    mbarrier_arrive_expect(barrier, n * row_bytes);
    bulk_copy(target, w + (expert_row + first) * row_bytes, n * row_bytes, barrier);
  };
  auto ring = warp_ring(shared + warp * n_stage * stage_bytes, full[warp], n_stage, stage_bytes, (end - begin + most - 1) / most, copy);
  uint8_t* const activations = shared + n_warp * n_stage * stage_bytes;
  const int activation_bytes = cast_bytes<Q::FINE>(n_used, n_chunk);
  float* const part = (float*)(activations + activation_bytes);
  if (threadIdx.x == 0) mbarrier_init(&rows_full, 1);  // the fence is in prepare()
  ring.prepare();
  ring.begin();
  pdl_trigger();
  __syncthreads();  // the barrier of the activations is there
  pdl_wait();

  const int expert = __ldcg(ids + p);
  const float weight = __ldcg(weights + p);
  const float rest = residual && threadIdx.x < n_row ? __ldcg(residual + row0 + threadIdx.x) : 0.0f;
  const uint8_t* const row = activations + p * (n_chunk * Activation<Q::FINE>::BYTES);
  if (threadIdx.x == 0) copy_activations(activations, h, activation_bytes, &rows_full);
  if (expert != guess) {
    expert_row = (size_t)expert * n_out + row0;
    ring.begin_again();
  }
  mbarrier_wait(&rows_full, 0);
  for (int t = 0; t < ring.n_tile; t++) {
    const uint8_t* stage = ring.wait(t);
    const int first = begin + t * most, n = min(most, end - first);
    const uint8_t* rows[PASSES];
#pragma unroll
    for (int i = 0; i < PASSES; i++) rows[i] = stage + min(i * SIDE + lane / LANES, n - 1) * row_bytes;
    float sum[PASSES] = {};
    for (int c = lane % LANES; c < n_chunk; c += LANES) {
      const Activation<Q::FINE> a = load_activations<Q::FINE>(row, n_chunk, c, n_chunk % 2 == 0);
      typename Q::Raw raw[PASSES];
#pragma unroll
      for (int i = 0; i < PASSES; i++) raw[i] = Q::load(Staged{rows[i]}, n_block, c);
#pragma unroll
      for (int i = 0; i < PASSES; i++) sum[i] += dot<Q>(Q::unpack(raw[i], c), a);
    }
    ring.done(t);
    const float total = sum_of_each<LANES>(sum);
    const int r = lane % LANES / (LANES / PASSES) * SIDE + lane / LANES;
    if (lane % (LANES / PASSES) == 0 && r < n) {
      const float bias = add ? add[expert_row + first + r] : 0.0f;
      part[p * n_row + first + r] = weight * (total + bias);
    }
  }
  __syncthreads();
  for (int r = threadIdx.x; r < n_row; r += blockDim.x) {
    float total = 0;
    for (int i = 0; i < n_used; i++) total += part[i * n_row + r];
    if (residual) total += r < blockDim.x ? rest : __ldcg(residual + row0 + r);
    y[row0 + r] = total;
  }
}
