// advance_i32: makes a step's results the inputs of the next one: token t of the batch becomes next[t], at the next
// position of its sequence and in that position's slot of the paged cache
// next, tokens, positions, slots, seq_ids (n_tok) i32; block_table (n_seq, n_page_max) i32
// grid = ceil(n_tok / 128), block = 128: a thread a token
// latency-bound
extern "C" __global__ void __launch_bounds__(128) advance_i32(
    const int* __restrict__ next, int* __restrict__ tokens, int* __restrict__ positions, int* __restrict__ slots,
    const int* __restrict__ seq_ids, const int* __restrict__ block_table, int n_tok, int n_page_max, int page_size) {
  const int t = blockIdx.x * 128 + threadIdx.x;
  if (t >= n_tok) return;
  const int position = positions[t] + 1, page = position / page_size;
  tokens[t] = next[t];
  positions[t] = position;
  // Behind the last page there is no slot; nobody starts that step.
  if (page < n_page_max) slots[t] = block_table[seq_ids[t] * n_page_max + page] * page_size + position % page_size;
}
