// plain.cuh: weights that are numbers already, as the quantised types are written: a chunk is its 32 numbers, without scales.
#pragma once
#include <cuda_bf16.h>
#include "planes.cuh"

template <class T> struct Plain {
  static constexpr int CHUNKS = 1;
  struct Raw {
    uint4 v[4];
  };
  __device__ static __forceinline__ int row_bytes(int n_chunk) { return n_chunk * 64; }
  __device__ static __forceinline__ Raw load(const uint8_t* row, int, int c) {
    return {{load16(row, 4 * c), load16(row, 4 * c + 1), load16(row, 4 * c + 2), load16(row, 4 * c + 3)}};
  }
};
using F16 = Plain<half>;
using BF16 = Plain<nv_bfloat16>;
