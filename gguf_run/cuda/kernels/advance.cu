// advance_i32: makes a step's results the inputs of the next one: token t of the batch, the only one of its sequence,
// becomes next[t], at the next position and in that position's slots of the paged caches; the next step reads the
// recurrent state that this one has written, and writes the spare row
// results (2, n_tok): next i32, then log_probs (n_tok) f32, for the host
// next, tokens, positions, seq_ids, slots, slots_window, state_in, state_out, state_spare (n_tok) i32; table,
// table_window (n_tok, n_page_max) i32; positions, slots, windows and states that a model lacks are null
// where a chain of samplers draws (else null): counts (n_tok, n_vocab), recent (n_tok, n_room), draw (n_tok, 2), draws
// (n_tok, n_room, 2), history (n_tok, 3) i32: recent is a ring that history[0] tokens went into; the last history[1]
// of them are counted (0: none, above n_room: all); draw is draws[history[2]]
// grid = ceil(n_tok / 128), block = 128: a thread a token
// latency-bound
extern "C" __global__ void __launch_bounds__(128) advance_i32(
    const int* __restrict__ next, const float* __restrict__ log_probs, int* __restrict__ results,
    int* __restrict__ tokens, int* __restrict__ positions, const int* __restrict__ seq_ids, int* __restrict__ slots,
    const int* __restrict__ table, int* __restrict__ slots_window, const int* __restrict__ table_window,
    int* __restrict__ state_in, int* __restrict__ state_out, int* __restrict__ state_spare, int* __restrict__ counts,
    int* __restrict__ recent, int2* __restrict__ draw, const int2* __restrict__ draws, int* __restrict__ history,
    int n_tok, int n_page_max, int page_size, int n_vocab, int n_room) {
  const int t = blockIdx.x * 128 + threadIdx.x;
  if (t >= n_tok) return;
  const int token = max(next[t], 0);  // -1: none could be drawn, and the host will stop
  tokens[t] = token;
  results[t] = next[t];
  results[n_tok + t] = __float_as_int(log_probs[t]);
  if (positions) {
    const int position = positions[t] + 1, page = position / page_size, rest = position % page_size;
    positions[t] = position;
    // Behind the last page there is no slot; nobody starts that step.
    if (page < n_page_max) {
      const long long at = (long long)seq_ids[t] * n_page_max + page;
      if (slots) slots[t] = table[at] * page_size + rest;
      if (slots_window) slots_window[t] = table_window[at] * page_size + rest;
    }
  }
  if (state_in) {
    const int written = state_out[t];
    state_in[t] = written;
    state_out[t] = state_spare[t];
    state_spare[t] = written;
  }
  if (counts) {
    const int n_seen = history[3 * t], last_n = history[3 * t + 1], n_drawn = history[3 * t + 2] + 1;
    counts += (long long)t * n_vocab;
    recent += (long long)t * n_room;
    if (last_n > 0) {
      if (last_n <= n_room && n_seen >= last_n) counts[recent[(n_seen - last_n) % n_room]]--;
      counts[token]++;
      recent[n_seen % n_room] = token;
      history[3 * t] = n_seen + 1;
    }
    history[3 * t + 2] = n_drawn;
    if (n_drawn < n_room) draw[t] = draws[(long long)t * n_room + n_drawn];
  }
}
