// Arithmetic, bits, loads and stores with a hint. Fast-math functions are the exact ones.
#pragma once

extern "C" {
float expf(float); float exp2f(float); float exp10f(float); float expm1f(float); float logf(float); float log2f(float); float log10f(float);
float log1pf(float); float sinf(float); float cosf(float); float tanf(float); float tanhf(float); float sinhf(float); float coshf(float);
float atanf(float); float atan2f(float, float); float erff(float); float powf(float, float); float fmodf(float, float); float cbrtf(float);
double exp(double); double exp2(double); double log(double); double log2(double); double sin(double); double cos(double); double tanh(double); double pow(double, double);
void sincosf(float, float*, float*);
int printf(const char*, ...);
}
#define EMU_FN __forceinline__ static
EMU_FN float sqrtf(float x) { return __builtin_sqrtf(x); }
EMU_FN double sqrt(double x) { return __builtin_sqrt(x); }
EMU_FN float sqrt(float x) { return __builtin_sqrtf(x); }
EMU_FN float fabsf(float x) { return __builtin_fabsf(x); }
EMU_FN double fabs(double x) { return __builtin_fabs(x); }
EMU_FN float floorf(float x) { return __builtin_floorf(x); }
EMU_FN float ceilf(float x) { return __builtin_ceilf(x); }
EMU_FN float rintf(float x) { return __builtin_rintf(x); }
EMU_FN float nearbyintf(float x) { return __builtin_rintf(x); }
EMU_FN float truncf(float x) { return __builtin_truncf(x); }
EMU_FN float roundf(float x) { return __builtin_roundf(x); }
EMU_FN float copysignf(float x, float s) { return __builtin_copysignf(x, s); }
EMU_FN float fmaf(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
EMU_FN double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
EMU_FN float ldexpf(float x, int e) { return __builtin_ldexpf(x, e); }
EMU_FN float fmaxf(float a, float b) { return a > b || b != b ? a : b; }
EMU_FN float fminf(float a, float b) { return a < b || b != b ? a : b; }
EMU_FN double fmax(double a, double b) { return a > b || b != b ? a : b; }
EMU_FN double fmin(double a, double b) { return a < b || b != b ? a : b; }
EMU_FN float rsqrtf(float x) { return 1.0f / __builtin_sqrtf(x); }
EMU_FN bool isnan(float x) { return x != x; }
EMU_FN bool isinf(float x) { return __builtin_isinf(x); }
EMU_FN bool isfinite(float x) { return __builtin_isfinite(x); }
EMU_FN int abs(int x) { return x < 0 ? -x : x; }
EMU_FN float __expf(float x) { return expf(x); }
EMU_FN float __exp10f(float x) { return exp10f(x); }
EMU_FN float __logf(float x) { return logf(x); }
EMU_FN float __log2f(float x) { return log2f(x); }
EMU_FN float __sinf(float x) { return sinf(x); }
EMU_FN float __cosf(float x) { return cosf(x); }
EMU_FN void __sincosf(float x, float* s, float* c) { sincosf(x, s, c); }
EMU_FN float __powf(float x, float y) { return powf(x, y); }
EMU_FN float __tanhf(float x) { return tanhf(x); }
EMU_FN float __fdividef(float a, float b) { return a / b; }
EMU_FN float __fdiv_rn(float a, float b) { return a / b; }
EMU_FN float __frcp_rn(float x) { return 1.0f / x; }
EMU_FN float __fsqrt_rn(float x) { return __builtin_sqrtf(x); }
EMU_FN float __frsqrt_rn(float x) { return 1.0f / __builtin_sqrtf(x); }
EMU_FN float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
EMU_FN float __fadd_rn(float a, float b) { return a + b; }
EMU_FN float __fsub_rn(float a, float b) { return a - b; }
EMU_FN float __fmul_rn(float a, float b) { return a * b; }
EMU_FN float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }

// max and min of numbers as CUDA overloads them; unsigned wins over int of the same width
#define EMU_MINMAX(T) \
  EMU_FN T max(T a, T b) { return a > b ? a : b; } \
  EMU_FN T min(T a, T b) { return a < b ? a : b; }
EMU_MINMAX(int) EMU_MINMAX(unsigned) EMU_MINMAX(long) EMU_MINMAX(unsigned long) EMU_MINMAX(long long) EMU_MINMAX(unsigned long long)
#undef EMU_MINMAX
EMU_FN unsigned max(int a, unsigned b) { return max(unsigned(a), b); }
EMU_FN unsigned max(unsigned a, int b) { return max(a, unsigned(b)); }
EMU_FN unsigned min(int a, unsigned b) { return min(unsigned(a), b); }
EMU_FN unsigned min(unsigned a, int b) { return min(a, unsigned(b)); }
EMU_FN float max(float a, float b) { return fmaxf(a, b); }
EMU_FN float min(float a, float b) { return fminf(a, b); }
EMU_FN double max(double a, double b) { return fmax(a, b); }
EMU_FN double min(double a, double b) { return fmin(a, b); }

template <class To, class From> EMU_FN To emu_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
EMU_FN float __int_as_float(int x) { return emu_bits<float>(x); }
EMU_FN float __uint_as_float(unsigned x) { return emu_bits<float>(x); }
EMU_FN int __float_as_int(float x) { return emu_bits<int>(x); }
EMU_FN unsigned __float_as_uint(float x) { return emu_bits<unsigned>(x); }
EMU_FN long long __double_as_longlong(double x) { return emu_bits<long long>(x); }
EMU_FN double __longlong_as_double(long long x) { return emu_bits<double>(x); }
// Out of range, the device saturates and makes NaN zero.
EMU_FN int emu_to_int(float x) { return x != x ? 0 : x >= 2147483648.0f ? 2147483647 : x < -2147483648.0f ? -2147483647 - 1 : int(x); }
EMU_FN unsigned emu_to_uint(float x) { return !(x > 0) ? 0 : x >= 4294967296.0f ? 4294967295u : unsigned(x); }
EMU_FN int __float2int_rn(float x) { return emu_to_int(__builtin_rintf(x)); }
EMU_FN int __float2int_rz(float x) { return emu_to_int(x); }
EMU_FN int __float2int_rd(float x) { return emu_to_int(__builtin_floorf(x)); }
EMU_FN int __float2int_ru(float x) { return emu_to_int(__builtin_ceilf(x)); }
EMU_FN unsigned __float2uint_rn(float x) { return emu_to_uint(__builtin_rintf(x)); }
EMU_FN unsigned __float2uint_rz(float x) { return emu_to_uint(x); }
EMU_FN int lrintf(float x) { return __float2int_rn(x); }
EMU_FN float __int2float_rn(int x) { return float(x); }
EMU_FN float __uint2float_rn(unsigned x) { return float(x); }

EMU_FN int __popc(unsigned x) { return __builtin_popcount(x); }
EMU_FN int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
EMU_FN int __clz(int x) { return x ? __builtin_clz(x) : 32; }
EMU_FN int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
EMU_FN int __ffs(int x) { return __builtin_ffs(x); }
EMU_FN int __ffsll(long long x) { return __builtin_ffsll(x); }
EMU_FN unsigned __brev(unsigned x) {
  x = __builtin_bswap32(x);
  x = (x >> 4 & 0x0f0f0f0fu) | (x & 0x0f0f0f0fu) << 4;
  x = (x >> 2 & 0x33333333u) | (x & 0x33333333u) << 2;
  return (x >> 1 & 0x55555555u) | (x & 0x55555555u) << 1;
}
EMU_FN unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  uint64_t bytes = uint64_t(b) << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 4; i++) {
    unsigned s = selector >> 4 * i, byte = bytes >> 8 * (s & 7) & 255;
    result |= (s & 8 ? (byte & 128 ? 255u : 0u) : byte) << 8 * i;
  }
  return result;
}
EMU_FN unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned n) { return (uint64_t(hi) << 32 | lo) << (n & 31) >> 32; }
EMU_FN unsigned __funnelshift_r(unsigned lo, unsigned hi, unsigned n) { return (uint64_t(hi) << 32 | lo) >> (n & 31); }
EMU_FN unsigned __umulhi(unsigned a, unsigned b) { return uint64_t(a) * b >> 32; }
EMU_FN int __mulhi(int a, int b) { return int64_t(a) * b >> 32; }
EMU_FN int __dp4a(int a, int b, int c) {
  for (int i = 0; i < 4; i++) c += int8_t(a >> 8 * i) * int8_t(b >> 8 * i);
  return c;
}
EMU_FN unsigned __dp4a(unsigned a, unsigned b, unsigned c) {
  for (int i = 0; i < 4; i++) c += (a >> 8 * i & 255) * (b >> 8 * i & 255);
  return c;
}
// four bytes in a word
EMU_FN unsigned __vsub4(unsigned a, unsigned b) { return ((a | 0x80808080u) - (b & 0x7f7f7f7fu)) ^ ((a ^ ~b) & 0x80808080u); }
EMU_FN unsigned __vadd4(unsigned a, unsigned b) { return ((a & 0x7f7f7f7fu) + (b & 0x7f7f7f7fu)) ^ ((a ^ b) & 0x80808080u); }
template <class F> EMU_FN unsigned emu_bytewise(unsigned a, unsigned b, F f) {
  unsigned r = 0;
  for (int i = 0; i < 4; i++) r |= unsigned(uint8_t(f(int8_t(a >> 8 * i), int8_t(b >> 8 * i)))) << 8 * i;
  return r;
}
EMU_FN unsigned __vsubss4(unsigned a, unsigned b) {
  return emu_bytewise(a, b, [](int x, int y) { return max(-128, min(127, x - y)); });
}
EMU_FN unsigned __vcmpeq4(unsigned a, unsigned b) {
  return emu_bytewise(a, b, [](int x, int y) { return x == y ? 255 : 0; });
}
EMU_FN unsigned __vcmpne4(unsigned a, unsigned b) { return ~__vcmpeq4(a, b); }

#define EMU_LOAD(name) template <class T> EMU_FN T name(const T* p) { return *p; }
EMU_LOAD(__ldg) EMU_LOAD(__ldcg) EMU_LOAD(__ldca) EMU_LOAD(__ldcs) EMU_LOAD(__ldlu) EMU_LOAD(__ldcv)
#undef EMU_LOAD
#define EMU_STORE(name) template <class T> EMU_FN void name(T* p, T value) { *p = value; }
EMU_STORE(__stcg) EMU_STORE(__stcs) EMU_STORE(__stwb) EMU_STORE(__stwt)
#undef EMU_STORE
#if defined(__x86_64__)
EMU_FN long long clock64() { return __builtin_ia32_rdtsc(); }
#else
EMU_FN long long clock64() { return 0; }
#endif
