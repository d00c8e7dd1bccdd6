// ssm_scan_f32: a selective state space (Graph.ssm_scan)                             (arXiv:2312.00752, arXiv:2405.21060)
// Each head's state S (head_dim, d_state) goes token by token, with e = softplus(dt): S = exp(e a) S + e x b^T;
// y = S c + d x. Its rows don't meet.
// x (n_tok, n_head, head_dim), b, c (n_tok, n_group, d_state) f32 with strides of tokens and heads or groups; dt (n_tok,
// n_head) f32 with a row stride; a (n_head, d_state or 1), d (n_head) f32; states (n_state, n_head, head_dim, d_state)
// f32; seq_ids (n_tok), state_in (n_seq) i32, -1 for a state of zeros; out: y (n_tok, n_head, head_dim), then the new
// states (n_seq, n_head, head_dim, d_state), without gaps
// d_state <= LANES * PER_LANE
// grid = (n_head * head_dim / (128 / LANES), rounded up; n_seq), block = 128: LANES lanes a row of S, in registers
// one token: memory-bound by the states; many: bound by latency, a token's sum follows the last one's
#include "functions.cuh"
#include "ptx.cuh"

struct Scan {  // passed by value; the wrapper (ops/recurrent.py) packs it
  long long x_tok, x_head, b_tok, b_group, c_tok, c_group;
  int dt_stride, n_tok, n_head, head_dim, n_group, d_state, a_width;
};

template <int PER_LANE> struct Token {
  float b[PER_LANE], c[PER_LANE], x, dt;
};

template <int LANES, int PER_LANE>
__global__ void __launch_bounds__(128) ssm_scan_f32(
    const float* __restrict__ x, const float* __restrict__ dt, const float* __restrict__ a, const float* __restrict__ d,
    const float* __restrict__ b, const float* __restrict__ c, const float* __restrict__ states,
    const int* __restrict__ seq_ids, const int* __restrict__ state_in, float* __restrict__ out, Scan p) {
  const int seq = blockIdx.y, lane = threadIdx.x % LANES, n_row = p.n_head * p.head_dim;
  const int row = blockIdx.x * (128 / LANES) + threadIdx.x / LANES, safe_row = min(row, n_row - 1);
  const int head = safe_row / p.head_dim, group = head / (p.n_head / p.n_group), column = safe_row % p.head_dim;

  int first = p.n_tok, last = -1;  // the sequence's tokens
  for (int t = threadIdx.x; t < p.n_tok; t += 128)
    if (seq_ids[t] == seq) first = min(first, t), last = t;
  first = -block_max<4>(-first);
  last = block_max<4>(last);

  const int from = state_in[seq];
  const long long row_of_state = (long long)safe_row * p.d_state, state_size = (long long)n_row * p.d_state;
  float s[PER_LANE], rate[PER_LANE];
#pragma unroll
  for (int i = 0; i < PER_LANE; i++) {
    const int at = i * LANES + lane;
    const bool mine = at < p.d_state;
    s[i] = mine && from >= 0 ? states[from * state_size + row_of_state + at] : 0;
    rate[i] = mine ? a[p.a_width == 1 ? head : head * p.d_state + at] : 0;
  }
  const float skip = d[head];

  const auto load_token = [&](int t) {
    Token<PER_LANE> token;
#pragma unroll
    for (int i = 0; i < PER_LANE; i++) {
      const int at = i * LANES + lane;
      token.b[i] = at < p.d_state ? b[t * p.b_tok + group * p.b_group + at] : 0;
      token.c[i] = at < p.d_state ? c[t * p.c_tok + group * p.c_group + at] : 0;
    }
    token.x = x[t * p.x_tok + head * p.x_head + column];
    token.dt = dt[(long long)t * p.dt_stride + head];
    return token;
  };
  Token<PER_LANE> next;
  if (first <= last) next = load_token(first);
  for (int t = first; t <= last; t++) {
    const Token<PER_LANE> now = next;
    if (t < last) next = load_token(t + 1);
    const float step = softplus(now.dt), added = step * now.x;
    float keep = expf(step * rate[0]), y = 0;
#pragma unroll
    for (int i = 0; i < PER_LANE; i++) {
      if (p.a_width > 1) keep = expf(step * rate[i]);
      s[i] = s[i] * keep + added * now.b[i];
      y += s[i] * now.c[i];
    }
    y = warp_sum<LANES>(y);
    if (lane == 0 && row < n_row) out[(long long)t * n_row + row] = y + skip * now.x;
  }

  if (row >= n_row) return;
  float* const kept = out + (long long)p.n_tok * n_row + seq * state_size + row_of_state;
#pragma unroll
  for (int i = 0; i < PER_LANE; i++)
    if (i * LANES + lane < p.d_state) kept[i * LANES + lane] = s[i];
}
