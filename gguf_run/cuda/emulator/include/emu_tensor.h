// Twins of the tensor-core instructions: collectives of a whole warp on PTX's fragment layouts.
// Lane l holds row l / 4 and columns (l % 4) * 2 of a tile; see "Matrix Fragments" in the PTX manual.
#pragma once

namespace emu {

struct DecodeF16 {
  static float apply(unsigned bits) { return float(emu_bits<F16>(uint16_t(bits))); }
};
struct DecodeBf16 {
  static float apply(unsigned bits) { return emu_bits<float>(bits << 16); }
};

struct MmaIn {
  const unsigned *a, *b;
};

template <class Decode> void combine_mma_f32(Slot* slots, unsigned lanes) {
  need_whole_warp(lanes);
  float a[16][16], b[16][8];
  for (int l = 0; l < 32; l++) {
    auto* in = static_cast<const MmaIn*>(slots[l].in);
    int row = l / 4, k = l % 4 * 2;
    for (int i = 0; i < 2; i++) {
      a[row][k + i] = Decode::apply(in->a[0] >> 16 * i);
      a[row + 8][k + i] = Decode::apply(in->a[1] >> 16 * i);
      a[row][k + 8 + i] = Decode::apply(in->a[2] >> 16 * i);
      a[row + 8][k + 8 + i] = Decode::apply(in->a[3] >> 16 * i);
      b[k + i][row] = Decode::apply(in->b[0] >> 16 * i);
      b[k + 8 + i][row] = Decode::apply(in->b[1] >> 16 * i);
    }
  }
  float sum[16][8] = {};
  for (int r = 0; r < 16; r++)
    for (int k = 0; k < 16; k++)
      for (int c = 0; c < 8; c++) sum[r][c] += a[r][k] * b[k][c];
  for (int l = 0; l < 32; l++) {
    auto* d = static_cast<float*>(slots[l].out);
    for (int i = 0; i < 4; i++) d[i] += sum[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2];
  }
}
template <class Decode> inline void mma_f32(float* d, const unsigned* a, const unsigned* b) {
  MmaIn in = {a, b};
  emu_collective(~0u, &combine_mma_f32<Decode>, &in, d, 0);
}

inline void combine_mma_s32(Slot* slots, unsigned lanes) {
  need_whole_warp(lanes);
  int a[16][32], b[32][8];
  for (int l = 0; l < 32; l++) {
    auto* in = static_cast<const MmaIn*>(slots[l].in);
    int row = l / 4, k = l % 4 * 4;
    for (int i = 0; i < 4; i++) {
      for (int r = 0; r < 4; r++) a[row + r % 2 * 8][k + i + r / 2 * 16] = int8_t(in->a[r] >> 8 * i);
      for (int r = 0; r < 2; r++) b[k + i + r * 16][row] = int8_t(in->b[r] >> 8 * i);
    }
  }
  int sum[16][8] = {};
  for (int r = 0; r < 16; r++)
    for (int k = 0; k < 32; k++)
      for (int c = 0; c < 8; c++) sum[r][c] += a[r][k] * b[k][c];
  for (int l = 0; l < 32; l++) {
    auto* d = static_cast<int*>(slots[l].out);
    for (int i = 0; i < 4; i++) d[i] += sum[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2];
  }
}
inline void mma_s32(int* d, const unsigned* a, const unsigned* b) {
  MmaIn in = {a, b};
  emu_collective(~0u, &combine_mma_s32, &in, d, 0);
}

template <int N, bool TRANS> void combine_ldmatrix(Slot* slots, unsigned lanes) {
  need_whole_warp(lanes);
  for (int tile = 0; tile < N; tile++)
    for (int l = 0; l < 32; l++) {
      int row = l / 4, column = l % 4 * 2;
      uint16_t value[2];
      for (int i = 0; i < 2; i++) {
        int r = TRANS ? column + i : row, c = TRANS ? row : column + i;
        value[i] = static_cast<const uint16_t*>(slots[tile * 8 + r].in)[c];
      }
      static_cast<unsigned*>(slots[l].out)[tile] = value[0] | unsigned(value[1]) << 16;
    }
}
template <int N, bool TRANS> inline void ldmatrix(unsigned* r, const void* row) {
  if (int(emu_thread->lane) < N * 8 && reinterpret_cast<uintptr_t>(row) % 16) emu_fail("a row of ldmatrix is not 16-byte aligned");
  emu_collective(~0u, &combine_ldmatrix<N, TRANS>, row, r, 0);
}

}  // namespace emu
