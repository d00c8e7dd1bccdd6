// stream_experts.cuh: what kernels share that multiply one token by rows of chosen experts near the limit of the memory.
//
// A warp has stages of shared memory of its own and waits for no other: its lanes start a copy a tile as soon as the
// experts are known or guessed, lane 0 the next tile once a stage has been read.
#pragma once
#include "mul_mat_vec.cuh"

constexpr int WARP_STAGES = 8;

// The stages of a warp: tile t lies in stage t % n. `copy(t, target, barrier)` starts the copies of a tile and says at the
// barrier how many bytes they are.
template <class Copy> struct WarpRing {
  uint8_t* stages;
  unsigned long long* full;
  int n, stage_bytes, n_tile;
  Copy copy;
  int parity = 0;  // that the barriers' first phases of use have

  __device__ __forceinline__ void prepare() const {
    const int lane = threadIdx.x % 32;
    if (lane < n) {
      mbarrier_init(full + lane, 1);
      mbarrier_fence();
    }
    __syncwarp();
  }
  __device__ __forceinline__ void begin() const {
    const int lane = threadIdx.x % 32;
    if (lane < n && lane < n_tile) copy(lane, stages + lane * stage_bytes, full + lane);
  }
  // Instead of what was begun: `copy` has changed since, and nothing has been read. Copies under way can't be called back.
  __device__ __forceinline__ void begin_again() {
    const int lane = threadIdx.x % 32;
    if (lane < n && lane < n_tile) mbarrier_wait(full + lane, 0);
    begin();
    parity = 1;
  }
  __device__ __forceinline__ const uint8_t* wait(int t) const {
    mbarrier_wait(full + t % n, (t / n ^ parity) & 1);
    return stages + t % n * stage_bytes;
  }
  // The tile has been read.
  __device__ __forceinline__ void done(int t) const {
    __syncwarp();
    if (threadIdx.x % 32 == 0 && t + n < n_tile) copy(t + n, stages + t % n * stage_bytes, full + t % n);
  }
};
template <class Copy>
__device__ __forceinline__ WarpRing<Copy> warp_ring(uint8_t* stages, unsigned long long* full, int n, int stage_bytes, int n_tile, Copy copy) {
  return {stages, full, n, stage_bytes, n_tile, copy};
}

// The sum over each WIDTH neighbouring lanes of sum[i], i = lane % WIDTH / (WIDTH / N): each step halves how many a lane adds.
template <int WIDTH, int N> __device__ __forceinline__ float sum_of_each(float (&sum)[N]) {
  int bit = WIDTH / 2;
#pragma unroll
  for (int rest = N / 2; rest; rest /= 2, bit /= 2)
#pragma unroll
    for (int i = 0; i < rest; i++) {
      const bool upper = threadIdx.x & bit;
      const float keep = upper ? sum[i + rest] : sum[i], send = upper ? sum[i] : sum[i + rest];
      sum[i] = keep + __shfl_xor_sync(~0u, send, bit);
    }
  return warp_sum<WIDTH / N>(sum[0]);
}

// Bytes of n_row cast rows (mul_mat_vec.cuh), up to a multiple of 16: results lie that far apart at least.
template <bool FINE> __device__ __forceinline__ int cast_bytes(int n_row, int n_chunk) {
  return (n_row * n_chunk * Activation<FINE>::BYTES + 15) & ~15;
}
// Copies them to shared memory; one thread.
__device__ __forceinline__ void copy_activations(void* target, const uint8_t* x, int n_bytes, unsigned long long* barrier) {
  mbarrier_arrive_expect(barrier, n_bytes);
  bulk_copy(target, x, n_bytes, barrier);
}
