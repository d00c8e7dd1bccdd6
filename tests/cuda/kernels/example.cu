// Kernels that tests/cuda/test_device.py and test_emulator.py run: each shows one thing that a device must do.
#include <cuda_fp16.h>

// axpy: y[i] += a * x[i]; x, y (n) f32. grid * block >= n.
extern "C" __global__ void axpy(float a, const float* __restrict__ x, float* __restrict__ y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] += a * x[i];
}

// row_sum: y[r] = sum of x[r,:]; x (n_rows, n) f32. grid = n_rows, block = WARPS * 32.
template <int WARPS>
__global__ void __launch_bounds__(WARPS * 32) row_sum(const float* x, float* y, int n) {
  __shared__ float part[WARPS];
  const float* row = x + (size_t)blockIdx.x * n;
  float sum = 0;
  for (int i = threadIdx.x; i < n; i += WARPS * 32) sum += row[i];
  for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    float total = 0;
    for (int w = 0; w < WARPS; w++) total += part[w];
    y[blockIdx.x] = total;
  }
}

// reverse: y = x backwards within each block, through dynamic shared memory of block * 4 bytes.
extern "C" __global__ void reverse(const float* x, float* y) {
  extern __shared__ float staged[];
  int i = threadIdx.x, first = blockIdx.x * blockDim.x;
  staged[i] = x[first + i];
  __syncthreads();
  y[first + i] = staged[blockDim.x - 1 - i];
}

struct Line {
  float slope;
  int offset;
};
// widths: every width of scalar, and a struct.
extern "C" __global__ void widths(unsigned char a, short b, long long c, double d, half e, Line line, bool on, double* y) {
  y[0] = a;
  y[1] = b;
  y[2] = (double)c;
  y[3] = d;
  y[4] = __half2float(e);
  y[5] = line.slope;
  y[6] = line.offset;
  y[7] = on;
}
