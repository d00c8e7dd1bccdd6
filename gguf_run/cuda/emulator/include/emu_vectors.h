// CUDA's built-in vector types, with CUDA's alignment.
#pragma once

#define EMU_VECTOR1(T, name) \
  struct name##1 { T x; }; \
  inline name##1 make_##name##1(T x) { return {x}; }
#define EMU_VECTOR(T, name, align2, align4) \
  struct alignas(align2) name##2 { T x, y; }; \
  struct alignas(align4) name##4 { T x, y, z, w; }; \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; } \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
#define EMU_VECTOR3(T, name) \
  struct name##3 { T x, y, z; }; \
  inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }
EMU_VECTOR(char, char, 2, 4)
EMU_VECTOR(signed char, schar, 2, 4)
EMU_VECTOR(unsigned char, uchar, 2, 4)
EMU_VECTOR(short, short, 4, 8)
EMU_VECTOR(unsigned short, ushort, 4, 8)
EMU_VECTOR(int, int, 8, 16)
EMU_VECTOR(unsigned, uint, 8, 16)
EMU_VECTOR(float, float, 8, 16)
EMU_VECTOR(long long, longlong, 16, 16)
EMU_VECTOR(unsigned long long, ulonglong, 16, 16)
EMU_VECTOR(double, double, 16, 16)
EMU_VECTOR3(int, int)
EMU_VECTOR3(float, float)
EMU_VECTOR1(float, float)
EMU_VECTOR1(int, int)
inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
#undef EMU_VECTOR
#undef EMU_VECTOR1
#undef EMU_VECTOR3
