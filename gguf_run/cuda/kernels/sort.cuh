// sort.cuh: a bitonic sort of keys (keys.cuh) in shared memory.
#pragma once
#include "keys.cuh"

// Sorts keys[size], largest first; size is a power of two. The whole block calls it behind a barrier; it ends with one.
__device__ __forceinline__ void bitonic_sort(Key* keys, int size) {
  for (int run = 2; run <= size; run *= 2) {
    for (int gap = run / 2; gap; gap /= 2) {
      for (int t = threadIdx.x; t < size / 2; t += blockDim.x) {
        const int i = 2 * t - (t & (gap - 1));
        const Key a = keys[i], b = keys[i + gap];
        if ((a < b) == !(i & run)) {
          keys[i] = b;
          keys[i + gap] = a;
        }
      }
      // Up to a gap of 32 a warp's pairs lie in 64 keys that are its own.
      const int next = gap > 1 ? gap / 2 : run;
      if (gap <= 32 && next <= 32)
        __syncwarp();
      else
        __syncthreads();
    }
  }
}
