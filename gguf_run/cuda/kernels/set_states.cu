// set_states_f32: cache[state_out[s],:] = rows[s,:]
// rows (n_seq, n_col) f32, stride elements between rows; state_out (n_seq) i32; cache (n_state, n_col) f32
// grid = (n_col / 1024, rounded up; n_seq), block = 256
// memory-bound
#include "ptx.cuh"

extern "C" __global__ void __launch_bounds__(256)
set_states_f32(const float* __restrict__ rows, const int* __restrict__ state_out, float* __restrict__ cache, int n_col,
               int stride) {
  const float* const from = rows + (long long)blockIdx.y * stride;
  float* const to = cache + (long long)state_out[blockIdx.y] * n_col;
  const int begin = blockIdx.x * 1024, end = min(begin + 1024, n_col);
  for (int i = begin + threadIdx.x; i < end; i += 256) to[i] = from[i];
}
