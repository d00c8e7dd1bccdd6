// CUDA C++ for the CPU, force-included ahead of every kernel file: keywords, vector types, built-ins.
#pragma once
#include "../runtime.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CUDA_EMU 1
#define __CUDACC__ 1
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __shared__ static thread_local  // a block lives on one OS thread
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#define threadIdx (emu_thread->id)
#define blockIdx (emu_block->id)
#define blockDim (emu_block->size)
#define gridDim (emu_block->grid)
#define warpSize 32

#include "emu_vectors.h"
#include "emu_math.h"
#include "emu_warp.h"
#include "emu_half.h"
#include "emu_table.h"
