// mul_mat_wgmma_glu: h[t,r] = act(sum_k gate[r,k] x[t,k]) * sum_k up[r,k] x[t,k] as F16_TILES, on wgmma (sm_90a)
// operands, block and bound: mul_mat_wgmma.cuh; x F16_TILES of n_tok rows; gate and up (n_out, n_in), n_out % 128 == 0;
// h F16_TILES of n_tok rows of n_out numbers with the factor FACTOR (mul_mat_wgmma_gated.cuh)
// grid = blocks that take the tiles blockIdx.x, + gridDim.x ... of 64 rows each of gate and up x BN tokens
// dynamic shared memory: STAGES * BN * 128 bytes, and BN * 128 for a tile of h
// compute-bound
#include "glu.cuh"
#include "mul_mat_wgmma_gated.cuh"

// glu.cuh's SWIGLU or GEGLU, by the GPU's own exponential: relative error 1e-6, of f16's 5e-4.
template <Gate GATE> __device__ __forceinline__ float gated(float gate, float up) {
  static_assert(GATE == SWIGLU || GATE == GEGLU, "the others are functions of glu.cuh alone");
  const float z = GATE == SWIGLU ? gate : 2.0f * 0.7978845608028654f * (gate + 0.044715f * gate * gate * gate);
  return gate * __fdividef(1.0f, 1.0f + __expf(-z)) * up;
}

template <class Q, Gate GATE, int BN, int STAGES>
__global__ void __launch_bounds__(MULTIPLY + COPY, 1)
mul_mat_wgmma_glu(const uint8_t* __restrict__ gate, const uint8_t* __restrict__ up, const uint8_t* __restrict__ x, uint8_t* __restrict__ h,
                  int n_tok, int n_out, int n_chunk) {
  extern __shared__ __align__(1024) uint8_t stages[];
  __shared__ unsigned long long full[STAGES], empty[STAGES];
  const int tid = threadIdx.x, n_step = n_chunk / STEP_CHUNKS, n_tok_tile = (n_tok + BN - 1) / BN, n_tile = n_out / 64 * n_tok_tile;
  Ring<STAGES, STAGE_BYTES<BN>> ring = {stages, full, empty, 0, tid >= MULTIPLY};
  if (tid == 0) ring.init();
  __syncthreads();

  if (tid >= MULTIPLY) {
    fewer_registers<24>();
    if (tid > MULTIPLY) return;
    for (int tile = blockIdx.x; tile < n_tile; tile += gridDim.x) {
      const int tok0 = tile % n_tok_tile * BN;
      copy_tokens(ring, x, n_tok, tok0, min(BN, n_tok - tok0), 0, n_step);
    }
    return;
  }
  more_registers<240>();
  uint8_t* const staged = stages + STAGES * STAGE_BYTES<BN>;
  const float* const scales = (const float*)(x + (size_t)n_tok * n_chunk * 64);
  Weights<Q, BN> weights;
  const auto begin_weights = [&](int tile) {
    // A block of 64 columns of h: a warp has one piece of it for all tokens, a lane one number of that.
    const int thread = thread_anew();
    const size_t row = (size_t)tile_column(tile / n_tok_tile * 8 + thread / 32, thread % 32 / 4) * Q::row_bytes(n_chunk);
    weights.begin(gate + row, up + row, n_chunk, 0, n_step);
  };
  if (blockIdx.x < n_tile) begin_weights(blockIdx.x);
  for (int tile = blockIdx.x; tile < n_tile; tile += gridDim.x) {
    const int tok0 = tile % n_tok_tile * BN, block = tile / n_tok_tile;
    float sum[BN / 2];
    multiply<Q, BN>(sum, ring, weights, 0, n_step);
    if (tile + gridDim.x < n_tile) begin_weights(tile + gridDim.x);
    const int thread = thread_anew(), lane = thread % 32, warp = thread / 32;
    if (thread == 0) bulk_store_read();  // of the tile before
    named_barrier(1, MULTIPLY);
#pragma unroll
    for (int n = 0; n < BN / 8; n++) {
      __syncwarp();  // or the compiler begins many at once, for which there are no registers
      float v[2];
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const float scale = __ldg(scales + min(tok0 + n * 8 + lane % 4 * 2 + e, n_tok - 1));
        v[e] = over_factor(gated<GATE>(sum[4 * n + e] * scale, sum[4 * n + 2 + e] * scale));
      }
      stage_gated(staged, warp, lane, n * 8, v);
    }
    async_fence();
    named_barrier(1, MULTIPLY);
    const int n = min(BN, n_tok - tok0);
    if (thread == 0) bulk_store(h + ((size_t)block * n_tok + tok0) * BLOCK_BYTES, staged, n * BLOCK_BYTES);
    if (block == 0 && thread < n) tile_factors(h, n_tok, n_out)[tok0 + thread] = FACTOR;
  }
  if (tid == 0) bulk_store_read();
}
