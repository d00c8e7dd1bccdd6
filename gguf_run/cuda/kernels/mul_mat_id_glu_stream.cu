// mul_mat_id_glu_stream: h[p,r] = act(gate[e,r] . x (+ gate_add[e,r])) * (up[e,r] . x (+ up_add[e,r])), cast to Q8_1 or,
// `fine`, to Q16_1, for one token and each of its experts e = ids[p]; weights quantised
// With `logits` (n_expert) f32, (ids, weights) = the router's choice of them (moe_router.cuh), bias (n_expert) f32 or null;
// else ids are given
// gate, up: rows of planes (quants/planes.cuh), an expert's n_ff rows at e * expert_rows, so that both may be halves of
// one tensor; adds f32 or null, laid out alike; x and y cast rows as in mul_mat_vec.cuh, y one an expert; ids (n_used) i32;
// n_ff % 32 == 0
// grid = n_used * n_ff / 32, block = 256; shared memory: see ops/stream_experts.py
// A warp computes four numbers of h, UNITS at a time. Launched with pdl=True; lets the kernel behind start once ids are
// written, so that it guesses them right (mul_mat_id_sum_stream.cu); only its own wait promises them
// memory-bound behind the choice, which each block makes for itself
#include "cast.cuh"
#include "glu.cuh"
#include "moe_choice.cuh"
#include "stream_experts.cuh"

constexpr int WARPS = 8, THREADS = 32 * WARPS, OWN = 4;

template <class Q, int UNITS>
__global__ void __launch_bounds__(THREADS, 2)
mul_mat_id_glu_stream(const uint8_t* __restrict__ gate, const uint8_t* __restrict__ up, const float* __restrict__ gate_add,
                      const float* __restrict__ up_add, const uint8_t* __restrict__ x, const float* __restrict__ logits,
                      const float* __restrict__ bias, int* ids, float* weights, uint8_t* __restrict__ y, int n_used, int n_ff,
                      int expert_rows, int n_chunk, int n_stage, int fine, Glu glu, Router router) {
  constexpr int ROWS = 2 * UNITS;
  extern __shared__ __align__(128) uint8_t shared[];
  __shared__ unsigned long long full[WARPS][WARP_STAGES], row_full;
  __shared__ __align__(16) Choice<THREADS> choice;
  __shared__ float h[32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, n_block = n_chunk / Q::CHUNKS, row_bytes = Q::row_bytes(n_chunk);
  const int pair = blockIdx.x / (n_ff / 32), row0 = blockIdx.x % (n_ff / 32) * 32 + warp * OWN;

  size_t expert_row = 0;
  const auto copy = [&](int t, uint8_t* target, unsigned long long* barrier) {
    const size_t from = (expert_row + row0 + t * UNITS) * row_bytes;
    mbarrier_arrive_expect(barrier, ROWS * row_bytes);
    bulk_copy(target, gate + from, UNITS * row_bytes, barrier);
    bulk_copy(target + UNITS * row_bytes, up + from, UNITS * row_bytes, barrier);
  };
  const int stage_bytes = ROWS * row_bytes;
  const auto ring = warp_ring(shared + warp * n_stage * stage_bytes, full[warp], n_stage, stage_bytes, OWN / UNITS, copy);
  uint8_t* const row = shared + WARPS * n_stage * stage_bytes;
  if (threadIdx.x == 0) mbarrier_init(&row_full, 1);  // the fence is in prepare()
  ring.prepare();
  if (logits) {
    // The first time any numbers do: it brings the code here while the kernel ahead still runs.
#pragma unroll 1
    for (int real = 0; real < 2; real++) {
      if (real) {
        pdl_wait();
        if (threadIdx.x == 0) copy_activations(row, x, cast_bytes<Q::FINE>(1, n_chunk), &row_full);
      }
      choice.make(real ? logits : (const float*)gate, bias, router);
    }
  } else {
    pdl_wait();
    if (threadIdx.x == 0) copy_activations(row, x, cast_bytes<Q::FINE>(1, n_chunk), &row_full);
    if (threadIdx.x < n_used) choice.experts[threadIdx.x] = __ldcg(ids + threadIdx.x);
    __syncthreads();
  }
  expert_row = (size_t)choice.experts[pair] * expert_rows;
  ring.begin();
  if (blockIdx.x > 0) {
    pdl_trigger();
  } else if (warp == 0) {
    if (logits) {
      const float weight = choice.weight(router);
      if (lane < n_used) ids[lane] = choice.experts[lane], weights[lane] = weight;
    }
    __threadfence();
    __syncwarp();
    pdl_trigger();
  }

  mbarrier_wait(&row_full, 0);
#pragma unroll 1
  for (int t = 0; t < OWN / UNITS; t++) {
    const uint8_t* stage = ring.wait(t);
    float sum[ROWS] = {};
    for (int c = lane; c < n_chunk; c += 32) {
      const Activation<Q::FINE> a = load_activations<Q::FINE>(row, n_chunk, c, true);
      typename Q::Raw raw[ROWS];
#pragma unroll
      for (int r = 0; r < ROWS; r++) raw[r] = Q::load(Staged{stage + r * row_bytes}, n_block, c);
#pragma unroll
      for (int r = 0; r < ROWS; r++) sum[r] += dot<Q>(Q::unpack(raw[r], c), a);
    }
    ring.done(t);
    // The gate's sums are in the lower 16 lanes, those of `up` in the others.
    float g = sum_of_each<32>(sum), u = __shfl_xor_sync(~0u, g, 16);
    const int i = t * UNITS + lane / (32 / ROWS);
    if (lane >= 16 || lane % (32 / ROWS)) continue;
    if (gate_add) g += gate_add[expert_row + row0 + i], u += up_add[expert_row + row0 + i];
    h[warp * OWN + i] = apply_glu(glu, g, u);
  }
  __syncthreads();
  if (warp > 0) return;
  uint8_t* const out = y + pair * ((size_t)n_ff / 32 * (fine ? 72 : 40));
  const int block = blockIdx.x % (n_ff / 32);
  fine ? store_block<true>(out, n_ff, block, h[lane]) : store_block<false>(out, n_ff, block, h[lane]);
}
