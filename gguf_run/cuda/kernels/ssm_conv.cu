// ssm_conv_f32: a causal convolution along each sequence (Graph.ssm_conv): y[t,c] = sum_i w[c,i] * h[t - n_tap + 1 + i,c],
// h being the rows of x of t's sequence behind those of its state                                  (arXiv:2312.00752)
// x (n_tok, n_ch) f32, x_stride elements between rows; w (n_ch, n_tap) f32; states (n_state, n_tap - 1, n_ch) f32;
// seq_ids (n_tok), state_in (n_seq) i32, -1 for a state of zeros; y (n_tok, n_ch), then the sequences' last n_tap - 1
// rows (n_seq, n_tap - 1, n_ch), both without gaps
// grid = (n_ch / 256, rounded up; as many rows along y and z as tokens and sequences, or more), block = 256: a block a token,
// then a block a sequence for its new state
// memory-bound: rows of neighbouring tokens meet in L2
#include "ptx.cuh"

extern "C" __global__ void __launch_bounds__(256)
ssm_conv_f32(const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ states,
             const int* __restrict__ seq_ids, const int* __restrict__ state_in, float* __restrict__ y, int n_tok, int n_seq,
             int n_ch, int n_tap, int x_stride) {
  const int c = blockIdx.x * 256 + threadIdx.x, n_past = n_tap - 1, place = blockIdx.z * gridDim.y + blockIdx.y;
  if (place >= n_tok + n_seq) return;
  const bool of_token = place < n_tok;
  const int seq = of_token ? seq_ids[place] : place - n_tok;
  // The rows of the sequence end with `last`; `before` of those ahead of it count, as far as the taps reach.
  int last = place, before = 0;
  if (!of_token) {
    int found = -1;
    for (int t = threadIdx.x; t < n_tok; t += 256)
      if (seq_ids[t] == seq) found = t;
    last = block_max<8>(found);
  }
  while (before < n_past && last - 1 - before >= 0 && seq_ids[last - 1 - before] == seq) before++;
  if (c >= n_ch) return;
  const int from = state_in[seq];
  const float* const state = states + (long long)from * n_past * n_ch + c;
  const auto row = [&](int back) {  // `back` rows ahead of `last`
    if (last >= 0 && back <= before) return x[(long long)(last - back) * x_stride + c];
    const int missing = last < 0 ? back + 1 : back - before;  // from the state's end
    return from < 0 || missing > n_past ? 0.0f : state[(long long)(n_past - missing) * n_ch];
  };
  if (of_token) {
    float sum = 0;
    for (int i = 0; i < n_tap; i++) sum += w[(long long)c * n_tap + i] * row(n_past - i);
    y[(long long)last * n_ch + c] = sum;
  } else {
    float* const kept = y + (long long)n_tok * n_ch + (long long)seq * n_past * n_ch + c;
    for (int i = 0; i < n_past; i++) kept[(long long)i * n_ch] = row(n_past - 1 - i);
  }
}
