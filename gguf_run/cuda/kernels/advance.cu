// advance_i32: makes a step's results the inputs of the next one: token t of the batch, the only one of its sequence,
// becomes next[t], at the next position and in that position's slots of the paged caches; the next step reads the
// recurrent state that this one has written, and writes the spare row
// next, tokens, positions, seq_ids, slots, slots_window, state_in, state_out, state_spare (n_tok) i32; table,
// table_window (n_tok, n_page_max) i32; slots, windows and states that a model lacks are null
// grid = ceil(n_tok / 128), block = 128: a thread a token
// latency-bound
extern "C" __global__ void __launch_bounds__(128) advance_i32(
    const int* __restrict__ next, int* __restrict__ tokens, int* __restrict__ positions,
    const int* __restrict__ seq_ids, int* __restrict__ slots, const int* __restrict__ table,
    int* __restrict__ slots_window, const int* __restrict__ table_window, int* __restrict__ state_in,
    int* __restrict__ state_out, int* __restrict__ state_spare, int n_tok, int n_page_max, int page_size) {
  const int t = blockIdx.x * 128 + threadIdx.x;
  if (t >= n_tok) return;
  const int position = positions[t] + 1, page = position / page_size, rest = position % page_size;
  tokens[t] = next[t];
  positions[t] = position;
  // Behind the last page there is no slot; nobody starts that step.
  if (page < n_page_max) {
    const long long at = (long long)seq_ids[t] * n_page_max + page;
    if (slots) slots[t] = table[at] * page_size + rest;
    if (slots_window) slots_window[t] = table_window[at] * page_size + rest;
  }
  if (state_in) {
    const int written = state_out[t];
    state_in[t] = written;
    state_out[t] = state_spare[t];
    state_spare[t] = written;
  }
}
