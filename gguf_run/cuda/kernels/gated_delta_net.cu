// gated_delta_net_f32: linear attention by the gated delta rule (Graph.gated_delta_net)             (arXiv:2412.06464)
// Each head's state S (d_v, d_k) goes token by token: S = exp(decay) S; S += beta (v - S k) k^T; o = S q. Its rows don't
// meet, and o of a row is (S q) before the update plus beta (v - S k) (k . q): so all sums of a token run side by side.
// q, k (n_tok, n_head_k, d_k), v (n_tok, n_head_v, d_v) f32 with strides of tokens and heads; decay (n_tok, n_head_v),
// or WIDE (n_tok, n_head_v, d_k) for each column of S, and beta (n_tok, n_head_v) f32 with strides; states (n_state, n_head_v, d_v, d_k) f32; seq_ids (n_tok), state_in (n_seq) i32, -1
// for a state of zeros; out: o (n_tok, n_head_v, d_v), then the new states (n_seq, n_head_v, d_v, d_k), without gaps
// d_k <= LANES * PER_LANE; WIDTH 4: d_k, all strides and addresses of q, k and states are multiples of four floats
// grid = (n_seq * n_head_v, d_v / ROWS, rounded up), block = 128: LANES lanes a row of S, which stays in registers
// one token: memory-bound by the states; many: bound by latency, a token's sums wait for the last one's
#include "ptx.cuh"
#include "rows.cuh"

constexpr int LANES = 8, ROWS = 128 / LANES;

struct Delta {  // passed by value; the wrapper (ops/recurrent.py) packs it
  long long q_tok, q_head, k_tok, k_head, v_tok, v_head;
  int decay_tok, decay_head, beta_stride, n_tok, n_head_k, n_head_v, d_k, d_v, in_turn;
};

template <int PER_LANE, bool WIDE> struct Token {
  float q[PER_LANE], k[PER_LANE], decay[WIDE ? PER_LANE : 1], v, beta;
};

// The elements of a row of d_k that are this lane's; zeros beyond its end.
template <int PER_LANE, int WIDTH>
__device__ __forceinline__ void load_row(const float* row, int d_k, int lane, float (&to)[PER_LANE]) {
#pragma unroll
  for (int i = 0; i < PER_LANE / WIDTH; i++) {
    const int at = i * LANES + lane;
    const Floats<WIDTH> some = at * WIDTH < d_k ? load<WIDTH>(row, at) : Floats<WIDTH>{};
#pragma unroll
    for (int e = 0; e < WIDTH; e++) to[i * WIDTH + e] = some.v[e];
  }
}

template <int PER_LANE, int WIDTH, bool WIDE>
__global__ void __launch_bounds__(128, 1) gated_delta_net_f32(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v,
    const float* __restrict__ decay, const float* __restrict__ beta, const float* __restrict__ states,
    const int* __restrict__ seq_ids, const int* __restrict__ state_in, float* __restrict__ out, Delta p) {
  const int seq = blockIdx.x / p.n_head_v, head = blockIdx.x % p.n_head_v, lane = threadIdx.x % LANES;
  const int source = p.in_turn ? head % p.n_head_k : head / (p.n_head_v / p.n_head_k);
  const int row = blockIdx.y * ROWS + threadIdx.x / LANES, safe_row = min(row, p.d_v - 1);

  int first = p.n_tok, last = -1;  // the sequence's tokens
  for (int t = threadIdx.x; t < p.n_tok; t += 128)
    if (seq_ids[t] == seq) first = min(first, t), last = t;
  first = -block_max<4>(-first);
  last = block_max<4>(last);

  const int from = state_in[seq];
  const long long row_of_state = ((long long)head * p.d_v + safe_row) * p.d_k;
  const long long state_size = (long long)p.n_head_v * p.d_v * p.d_k;
  float s[PER_LANE] = {};
  if (from >= 0) load_row<PER_LANE, WIDTH>(states + from * state_size + row_of_state, p.d_k, lane, s);

  const auto load_token = [&](int t) {
    Token<PER_LANE, WIDE> x;
    load_row<PER_LANE, WIDTH>(q + t * p.q_tok + source * p.q_head, p.d_k, lane, x.q);
    load_row<PER_LANE, WIDTH>(k + t * p.k_tok + source * p.k_head, p.d_k, lane, x.k);
    x.v = v[t * p.v_tok + head * p.v_head + safe_row];
    const float* const rates = decay + (long long)t * p.decay_tok + head * p.decay_head;
    if constexpr (WIDE)
      load_row<PER_LANE, WIDTH>(rates, p.d_k, lane, x.decay);
    else
      x.decay[0] = *rates;
    x.beta = beta[(long long)t * p.beta_stride + head];
    return x;
  };
  Token<PER_LANE, WIDE> next;
  if (first <= last) next = load_token(first);
  for (int t = first; t <= last; t++) {
    const Token<PER_LANE, WIDE> x = next;
    if (t < last) next = load_token(t + 1);
    const float keep = expf(x.decay[0]);
    float sk = 0, sq = 0, kq = 0;
#pragma unroll
    for (int i = 0; i < PER_LANE; i++) {
      s[i] *= WIDE ? expf(x.decay[WIDE ? i : 0]) : keep;
      sk += s[i] * x.k[i];
      sq += s[i] * x.q[i];
      kq += x.k[i] * x.q[i];
    }
    sk = warp_sum<LANES>(sk), sq = warp_sum<LANES>(sq), kq = warp_sum<LANES>(kq);
    const float change = x.beta * (x.v - sk);
#pragma unroll
    for (int i = 0; i < PER_LANE; i++) s[i] += change * x.k[i];
    if (lane == 0 && row < p.d_v) out[((long long)t * p.n_head_v + head) * p.d_v + row] = sq + change * kq;
  }

  if (row >= p.d_v) return;
  float* const kept = out + (long long)p.n_tok * p.n_head_v * p.d_v + seq * state_size + row_of_state;
#pragma unroll
  for (int i = 0; i < PER_LANE; i++) {
    const int at = (i / WIDTH * LANES + lane) * WIDTH + i % WIDTH;
    if (at < p.d_k) kept[at] = s[i];
  }
}
