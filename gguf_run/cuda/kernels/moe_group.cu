// moe_group: the (token, expert) pairs of a router in tiles of one expert each (Graph.moe_group)
// ids (n_pair) i32: the expert of each pair; out (n_tile, 1 + size) i32: a row is an expert and up to `size` of its
// pairs in ascending order, then -1; the experts follow each other; rows that are left over are all -1
// grid = n_expert, block = 512: every block counts all pairs, then finds those of its own expert
// dynamic shared memory: n_expert counters; n_tile as in Graph.moe_group
// bound by latency and L2: each block reads the ids twice
#include "ptx.cuh"

constexpr int THREADS = 512;

// The sum of v over all threads before this one. Two barriers.
__device__ __forceinline__ int sum_before(int v) {
  __shared__ int part[THREADS / 32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int sum = v;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(0xffffffffu, sum, step);
    if (lane >= step) sum += other;
  }
  if (lane == 31) part[warp] = sum;
  __syncthreads();
  for (int w = 0; w < warp; w++) sum += part[w];
  __syncthreads();
  return sum - v;
}

// ids[i] ... ids[i + 3], -1 from `last` on; i a multiple of 4, i < last.
__device__ __forceinline__ int4 load_four(const int* ids, int i, int last) {
  if (i + 4 <= last) return *(const int4*)(ids + i);
  return make_int4(ids[i], i + 1 < last ? ids[i + 1] : -1, i + 2 < last ? ids[i + 2] : -1, -1);
}

extern "C" __global__ void __launch_bounds__(THREADS)
moe_group(const int* __restrict__ ids, int* __restrict__ out, int n_pair, int n_tile, int size) {
  extern __shared__ int counts[];
  const int n_expert = gridDim.x, expert = blockIdx.x, tid = threadIdx.x;
  for (int e = tid; e < n_expert; e += THREADS) counts[e] = 0;
  __syncthreads();
  // Neighbouring pairs belong to one thread: so the order of threads is that of pairs.
  const int share = ((n_pair + THREADS - 1) / THREADS + 3) / 4 * 4;
  const int first = min(tid * share, n_pair), last = min(first + share, n_pair);
  int mine = 0;
#pragma unroll 4
  for (int i = first; i < last; i += 4) {
    const int4 four = load_four(ids, i, last);
    mine += (four.x == expert) + (four.y == expert) + (four.z == expert) + (four.w == expert);
    atomicAdd(&counts[four.x], 1);
    if (four.y >= 0) atomicAdd(&counts[four.y], 1);
    if (four.z >= 0) atomicAdd(&counts[four.z], 1);
    if (four.w >= 0) atomicAdd(&counts[four.w], 1);
  }
  __syncthreads();
  int before = 0, all = 0;  // tiles of the experts before this one, and of all
  for (int e = tid; e < n_expert; e += THREADS) {
    const int n = (counts[e] + size - 1) / size;
    all += n;
    before += e < expert ? n : 0;
  }
  all = block_sum<THREADS / 32>(all);
  before = block_sum<THREADS / 32>(before);

  const int row = 1 + size, n_own = (counts[expert] + size - 1) / size;
  int* const own = out + (long long)before * row;
  int at = sum_before(mine);
  for (int i = first; mine && i < last; i += 4) {
    const int4 four = load_four(ids, i, last);
    if (four.x == expert) own[at / size * row + 1 + at % size] = i, at++;
    if (four.y == expert) own[at / size * row + 1 + at % size] = i + 1, at++;
    if (four.z == expert) own[at / size * row + 1 + at % size] = i + 2, at++;
    if (four.w == expert) own[at / size * row + 1 + at % size] = i + 3, at++;
  }
  for (int tile = tid; tile < n_own; tile += THREADS) own[tile * row] = expert;
  for (int i = counts[expert] + tid; i < n_own * size; i += THREADS) own[i / size * row + 1 + i % size] = -1;
  for (int tile = all + expert; tile < n_tile; tile += n_expert)
    for (int i = tid; i < row; i += THREADS) out[(long long)tile * row + i] = -1;
}
