// Kernels that tests/cuda/test_ptx.py runs: each function of ptx.cuh once.
#include "../../../gguf_run/cuda/kernels/ptx.cuh"

// c (16,8) f32 = a (16,16) b (8,16)^T, operands f16 or bf16. grid = 1, block = 32.
template <bool BF16> __global__ void mma_16(const unsigned* a, const unsigned* b, float* c) {
  int row = threadIdx.x / 4, t = threadIdx.x % 4;
  unsigned fa[4] = {a[row * 8 + t], a[(row + 8) * 8 + t], a[row * 8 + t + 4], a[(row + 8) * 8 + t + 4]};
  unsigned fb[2] = {b[row * 8 + t], b[row * 8 + t + 4]};
  float d[4] = {0, 0, 0, 0};
  if (BF16) mma_m16n8k16_bf16(d, fa, fb);
  else mma_m16n8k16_f16(d, fa, fb);
  for (int i = 0; i < 4; i++) c[(row + i / 2 * 8) * 8 + t * 2 + i % 2] = d[i];
}

// the same through shared memory and ldmatrix; b (16,8) row-major, so transposed on the way
extern "C" __global__ void mma_ldmatrix(const uint4* a, const uint4* b, float* c) {
  __shared__ uint4 sa[32], sb[16];
  sa[threadIdx.x] = a[threadIdx.x];
  if (threadIdx.x < 16) sb[threadIdx.x] = b[threadIdx.x];
  __syncwarp();
  int lane = threadIdx.x;
  unsigned fa[4], fb[2];
  ldmatrix_x4(fa, &sa[lane % 16 * 2 + lane / 16]);
  ldmatrix_x2_trans(fb, &sb[lane % 16]);
  float d[4] = {0, 0, 0, 0};
  mma_m16n8k16_f16(d, fa, fb);
  for (int i = 0; i < 4; i++) c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i];
}

// c (16,8) s32 = a (16,32) s8 b (8,32)^T s8. grid = 1, block = 32.
extern "C" __global__ void mma_s8(const unsigned* a, const unsigned* b, int* c) {
  int row = threadIdx.x / 4, t = threadIdx.x % 4;
  unsigned fa[4] = {a[row * 8 + t], a[(row + 8) * 8 + t], a[row * 8 + t + 4], a[(row + 8) * 8 + t + 4]};
  unsigned fb[2] = {b[row * 8 + t], b[row * 8 + t + 4]};
  int d[4] = {0, 0, 0, 0};
  mma_m16n8k32_s8(d, fa, fb);
  for (int i = 0; i < 4; i++) c[(row + i / 2 * 8) * 8 + t * 2 + i % 2] = d[i];
}

// y = x (n) f32 staged by cp.async in two groups; the first n_valid values, then zeros. block = n / 4.
extern "C" __global__ void staged(const float4* x, float4* y, int n_valid) {
  extern __shared__ float4 stage[];
  int i = threadIdx.x, n = blockDim.x;
  copy_async<16>(&stage[i], &x[i], i * 4 < n_valid);
  copy_async_commit();
  copy_async<4>((float*)&stage[n] + i, (const float*)x + i);
  copy_async_commit();
  copy_async_wait<1>();
  __syncthreads();
  y[i] = stage[n - 1 - i];
  copy_async_wait<0>();
}

#if __CUDA_ARCH__ >= 900
// y = 2 * x (n_tiles, 128) f32: a producer warp streams tiles through two stages of shared memory. block = 64.
extern "C" __global__ void pipeline(const float* x, float* y, int n_tiles) {
  __shared__ __align__(128) float stage[2][128];
  __shared__ unsigned long long full[2], empty[2];
  if (threadIdx.x == 0) {
    for (int s = 0; s < 2; s++) mbarrier_init(&full[s], 1), mbarrier_init(&empty[s], 1);
    mbarrier_fence();
  }
  __syncthreads();
  pdl_trigger();
  if (threadIdx.x >= 32) {
    if (threadIdx.x == 32)
      for (int t = 0; t < n_tiles; t++) {
        if (t >= 2) mbarrier_wait(&empty[t % 2], (t / 2 - 1) & 1);
        mbarrier_arrive_expect(&full[t % 2], 512);
        bulk_copy(stage[t % 2], x + t * 128, 512, &full[t % 2]);
      }
    return;
  }
  pdl_wait();
  for (int t = 0; t < n_tiles; t++) {
    mbarrier_wait(&full[t % 2], t / 2 & 1);
    for (int i = threadIdx.x; i < 128; i += 32) y[t * 128 + i] = 2 * stage[t % 2][i];
    __syncwarp();
    if (threadIdx.x == 0) mbarrier_arrive(&empty[t % 2]);
  }
}
#endif

// y[0] = sum, y[1] = max of x (128) f32 by warps and the block; y[2] = max over the first 8 lanes; y[4] and y[5] = largest
// and least bit pattern of the first warp, as numbers. block = 128.
extern "C" __global__ void reductions(const float* x, float* y) {
  float v = x[threadIdx.x], sum = block_sum<4>(v), largest = block_max<4>(v), eight = warp_max<8>(v);
  const unsigned word = __float_as_uint(v), top = warp_max_word(word), low = warp_min_word(word);
  named_barrier(1, 128);
  if (threadIdx.x == 0) y[4] = __uint_as_float(top), y[5] = __uint_as_float(low);
  if (threadIdx.x == 0) y[0] = sum, y[1] = largest, y[2] = eight;
  if (threadIdx.x == 0) y[3] = (float)dp4a_us(0xff010203u, 0xff010203, 7);
}

// y = x + 1, backwards (n) f32: every block reads what another block of the launch ahead wrote. grid * block = n.
extern "C" __global__ void dependent(const float* x, float* y, int n) {
  pdl_trigger();
  pdl_wait();
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  y[n - 1 - i] = x[i] + 1;
}

// every block adds one and waits for all: a barrier of the grid. Launch cooperatively.
extern "C" __global__ void grid_barrier(unsigned* counter, int* order) {
  if (threadIdx.x == 0) {
    add_release(counter, 1);
    while (load_acquire(counter) < gridDim.x) __nanosleep(20);
    order[blockIdx.x] = (int)load_acquire(counter);
  }
}
