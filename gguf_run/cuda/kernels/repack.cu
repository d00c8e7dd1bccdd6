// repack_plane: gathers bytes from : from + size of every block of a row into a plane
// source (n_row, n_block, block_bytes), as in the file; target: rows of row_bytes, 16-byte aligned, of which `plane_bytes`
// from `offset` on are written, both multiples of 16; zeros where the blocks end before the plane
// grid = (plane_bytes / 16 / 256 rounded up, rows), rows over gridDim.y in turn; block = 256, a thread 16 bytes
// bound by the byte loads, which meet in L1: far above the speed at which files come in
#include "ptx.cuh"

extern "C" __global__ void __launch_bounds__(256)
repack_plane(const uint8_t* __restrict__ source, uint8_t* __restrict__ target, int n_row, int n_block, int block_bytes,
             int from, int size, long long row_bytes, long long offset, int plane_bytes) {
  const int at = (blockIdx.x * 256 + threadIdx.x) * 16;
  if (at >= plane_bytes) return;
  for (int row = blockIdx.y; row < n_row; row += gridDim.y) {
    const uint8_t* blocks = source + (size_t)row * n_block * block_bytes + from;
    unsigned words[4] = {};
    int block = at / size, byte = at % size;
#pragma unroll
    for (int i = 0; i < 16; i++) {
      if (block < n_block) words[i / 4] |= (unsigned)blocks[(size_t)block * block_bytes + byte] << 8 * (i % 4);
      if (++byte == size) byte = 0, block++;
    }
    *(uint4*)(target + (size_t)row * row_bytes + offset + at) = make_uint4(words[0], words[1], words[2], words[3]);
  }
}
