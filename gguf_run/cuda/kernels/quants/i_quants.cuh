// I-quants: levels from a table of 16 (IQ4), or four or eight elements at a time from a codebook (grids.cuh), signs
// beside it.
#pragma once
#include "grids.cuh"
#include "legacy.cuh"

__device__ __forceinline__ Table16 uneven_levels() {  // -127 -104 -83 -65 -49 -35 -22 -10 1 13 25 38 53 69 89 113
  return {0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u};
}
__device__ __forceinline__ void unpack_levels(const uint4& q, Chunk& c) {
  const unsigned words[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
  for (int i = 0; i < 4; i++) look_up(uneven_levels(), words[i], c.w[i], c.w[i + 4]);
}

// value = d * level
struct IQ4_NL : Planes<32, 18, At<2, 16>, At<0, 2>>, Form<1, false, true> {
  using Raw = NibblesAndScale;
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    return {load16(row, c), load2(row + plane<1>(n), c)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int) {
    Chunk c;
    unpack_levels(raw.q, c);
    c.d[0] = half_bits(raw.scale);
    return c;
  }
};

// value = d * (scale - 32) * level; of a scale's six bits the upper two stand in the second half of `head.x`
struct IQ4_XS : Planes<256, 136, At<8, 128>, At<0, 8>>, Form<1, false, true> {
  struct Raw {
    uint4 q;
    uint2 head;
  };
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    return {load16(row, c), load8(row + plane<1>(n), c / 8)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int i) {
    Chunk c;
    unpack_levels(raw.q, c);
    const int j = i & 7, low = raw.head.y >> 4 * j & 15, high = raw.head.x >> (16 + 2 * j) & 3;
    c.d[0] = half_bits(raw.head.x) * ((low | high << 4) - 32);
    return c;
  }
};

// ---- codebooks ---------------------------------------------------------------------------------------------------

// Four 2-bit codes to the bytes of `values`.
__device__ __forceinline__ unsigned expand4(unsigned codes, unsigned values) {
  unsigned s = (codes | codes << 4) & 0x0f0fu;
  s = (s | s << 2) & 0x3333u;
  return __byte_perm(values, 0, s);
}
// Eight elements of an IQ2 grid, 8, 25 or 43, with their signs.
__device__ __forceinline__ void grid2(const uint16_t* grid, int index, unsigned signs, int* w) {
  const unsigned codes = __ldg(grid + index);
  w[0] = negate4(expand4(codes & 255, 0x002b1908u), signs), w[1] = negate4(expand4(codes >> 8, 0x002b1908u), signs >> 4);
}
// Eight elements of an IQ1 grid, -1, 0 or 1, plus or minus an eighth; all times eight.
__device__ __forceinline__ void grid1(int index, bool minus, int* w) {
  const unsigned codes = __ldg(IQ1_GRID + index), values = minus ? 0x0007fff7u : 0x000901f9u;
  w[0] = (int)expand4(codes & 255, values), w[1] = (int)expand4(codes >> 8, values);
}
// Seven signs and the eighth that makes the number of minuses even.
__device__ __forceinline__ unsigned even_signs(unsigned seven) { return seven | (__popc(seven) & 1u) << 7; }

// value = d * (scale + 1/2) / 4 * grid; a chunk is four indices, then four times seven signs and the scale
struct IQ2_XXS : Planes<256, 66, At<2, 64>, At<0, 2>>, Form<1, false, true> {
  struct Raw {
    uint2 q;
    unsigned d;
  };
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    return {load8(row, c), load2(row + plane<1>(n), c / 8)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int) {
    Chunk c;
#pragma unroll
    for (int o = 0; o < 4; o++) grid2(IQ2_XXS_GRID, raw.q.x >> 8 * o & 255, even_signs(raw.q.y >> 7 * o & 127), c.w + 2 * o);
    c.d[0] = half_bits(raw.d) * (0.5f + (raw.q.y >> 28)) * 0.25f;
    return c;
  }
};

// value = d * (scale + 1/2) / 4 * grid, a scale every 16; an index and seven signs for eight elements
struct IQ2_XS : Planes<256, 74, At<2, 64>, At<66, 8>, At<0, 2>>, Form<2, false, true> {
  struct Raw {
    uint2 q;
    unsigned scales, d;
  };
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    return {load8(row, c), load1(row + plane<1>(n), c), load2(row + plane<2>(n), c / 8)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int) {
    Chunk c;
#pragma unroll
    for (int o = 0; o < 4; o++) {
      const unsigned q = (o < 2 ? raw.q.x : raw.q.y) >> 16 * (o & 1) & 0xffffu;
      grid2(IQ2_XS_GRID, q & 511, even_signs(q >> 9), c.w + 2 * o);
    }
    const float d = half_bits(raw.d) * 0.25f;
    c.d[0] = d * (0.5f + (raw.scales & 15)), c.d[1] = d * (0.5f + (raw.scales >> 4));
    return c;
  }
};

// as IQ2_XS; the index has its low eight bits, its high two, and the eight signs in planes of their own
struct IQ2_S : Planes<256, 82, At<2, 32>, At<34, 32>, At<66, 8>, At<74, 8>, At<0, 2>>, Form<2, false, true> {
  struct Raw {
    unsigned q, signs, high, scales, d;
  };
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    return {load4(row, c), load4(row + plane<1>(n), c), load1(row + plane<2>(n), c), load1(row + plane<3>(n), c),
            load2(row + plane<4>(n), c / 8)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int) {
    Chunk c;
#pragma unroll
    for (int o = 0; o < 4; o++) {
      const int index = (raw.q >> 8 * o & 255) | (raw.high >> 2 * o & 3) << 8;
      grid2(IQ2_S_GRID, index, raw.signs >> 8 * o & 255, c.w + 2 * o);
    }
    const float d = half_bits(raw.d) * 0.25f;
    c.d[0] = d * (0.5f + (raw.scales & 15)), c.d[1] = d * (0.5f + (raw.scales >> 4));
    return c;
  }
};

// value = d * (scale + 1/2) / 2 * grid; an index for four elements; four times seven signs and the scale in a word
struct IQ3_XXS : Planes<256, 98, At<2, 64>, At<66, 32>, At<0, 2>>, Form<1, false, true> {
  struct Raw {
    uint2 q;
    unsigned signs, d;
  };
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    return {load8(row, c), load4(row + plane<1>(n), c), load2(row + plane<2>(n), c / 8)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int) {
    Chunk c;
#pragma unroll
    for (int i = 0; i < 8; i++) {
      const unsigned index = (i < 4 ? raw.q.x : raw.q.y) >> 8 * (i & 3) & 255;
      c.w[i] = negate4(__ldg(IQ3_XXS_GRID + index), even_signs(raw.signs >> 7 * (i / 2) & 127) >> 4 * (i & 1));
    }
    c.d[0] = half_bits(raw.d) * (0.5f + (raw.signs >> 28)) * 0.5f;
    return c;
  }
};

// value = d * (2 scale + 1) * grid; the ninth bits of a chunk's eight indices are a byte, the scale is a nibble
struct IQ3_S : Planes<256, 110, At<2, 64>, At<66, 8>, At<74, 32>, At<106, 4>, At<0, 2>>, Form<1, false, true> {
  struct Raw {
    uint2 q;
    unsigned high, signs, scales, d;
  };
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    return {load8(row, c), load1(row + plane<1>(n), c), load4(row + plane<2>(n), c), load1(row + plane<3>(n), c / 2),
            load2(row + plane<4>(n), c / 8)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int i) {
    Chunk c;
#pragma unroll
    for (int k = 0; k < 8; k++) {
      const unsigned index = ((k < 4 ? raw.q.x : raw.q.y) >> 8 * (k & 3) & 255) | (raw.high >> k & 1) << 8;
      c.w[k] = negate4(__ldg(IQ3_S_GRID + index), raw.signs >> 4 * k);
    }
    c.d[0] = half_bits(raw.d) * (1 + 2 * (raw.scales >> 4 * (i & 1) & 15));
    return c;
  }
};

// value = d * (2 scale + 1) * (grid +- 1/8); a 16-bit word a chunk: four times three high bits of the indices, then
// the scale and the sign of the eighth
struct IQ1_S : Planes<256, 50, At<2, 32>, At<34, 16>, At<0, 2>>, Form<1, false, true> {
  struct Raw {
    unsigned q, high, d;
  };
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    return {load4(row, c), load2(row + plane<1>(n), c), load2(row + plane<2>(n), c / 8)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int) {
    Chunk c;
#pragma unroll
    for (int o = 0; o < 4; o++) grid1((raw.q >> 8 * o & 255) | (raw.high >> 3 * o & 7) << 8, raw.high >> 15, c.w + 2 * o);
    c.d[0] = half_bits(raw.d) * (2 * (raw.high >> 12 & 7) + 1) * 0.125f;
    return c;
  }
};

// as IQ1_S; for eight elements a nibble: three high bits of the index and the sign of the eighth. Sixteen scales of
// three bits stand in four 16-bit words, whose top nibbles make up d.
struct IQ1_M : Planes<256, 56, At<0, 32>, At<32, 16>, At<48, 8>>, Form<2, false, true> {
  struct Raw {
    unsigned q, high;
    uint2 scales;
  };
  template <class Row> __device__ static __forceinline__ Raw load(Row row, int n, int c) {
    return {load4(row, c), load2(row + plane<1>(n), c), load8(row + plane<2>(n), c / 8)};
  }
  __device__ static __forceinline__ Chunk unpack(const Raw& raw, int i) {
    Chunk c;
#pragma unroll
    for (int o = 0; o < 4; o++) {
      const unsigned nibble = raw.high >> 4 * o & 15;
      grid1((raw.q >> 8 * o & 255) | (nibble & 7) << 8, nibble >> 3, c.w + 2 * o);
    }
    const unsigned a = raw.scales.x, b = raw.scales.y;
    const float d = half_bits((a >> 12 & 15) | (a >> 28) << 4 | (b >> 12 & 15) << 8 | (b >> 28) << 12) * 0.125f;
    const int j = i & 7;  // scales 2 j and 2 j + 1: of word j / 2, three bits each from bit 6 (j % 2) on
    const unsigned scales = (j < 4 ? a : b) >> (16 * (j >> 1 & 1) + 6 * (j & 1));
    c.d[0] = d * (2 * (scales & 7) + 1), c.d[1] = d * (2 * (scales >> 3 & 7) + 1);
    return c;
  }
};
