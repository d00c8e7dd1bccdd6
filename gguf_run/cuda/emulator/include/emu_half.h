// Half precision: __half, __half2, __nv_bfloat16, __nv_bfloat162 and what kernels do with them.
#pragma once

namespace emu {
#if defined(__aarch64__)  // where g++ 12 knows _Float16 in C alone
using F16 = __fp16;
#else
using F16 = _Float16;
#endif
}  // namespace emu

struct alignas(2) __half {
  emu::F16 v;
  __half() = default;
  __half(float f) : v(emu::F16(f)) {}
  __half(double f) : v(emu::F16(f)) {}
  __half(int i) : v(emu::F16(float(i))) {}
  operator float() const { return float(v); }
};
using half = __half;
struct alignas(4) __half2 {
  __half x, y;
  __half2() = default;
  __half2(__half x, __half y) : x(x), y(y) {}
};
using half2 = __half2;

struct alignas(2) __nv_bfloat16 {
  uint16_t v;
  __nv_bfloat16() = default;
  __nv_bfloat16(float f) {  // to nearest, ties to even
    uint32_t u = emu_bits<uint32_t>(f);
    v = f != f ? 0x7fff : uint16_t((u + 0x7fff + (u >> 16 & 1)) >> 16);
  }
  operator float() const { return emu_bits<float>(uint32_t(v) << 16); }
};
using nv_bfloat16 = __nv_bfloat16;
struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
  __nv_bfloat162() = default;
  __nv_bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) : x(x), y(y) {}
};
using nv_bfloat162 = __nv_bfloat162;

// A sum or product of two halves is exact enough in f32 that rounding it once gives the device's result.
#define EMU_HALF(H, H2) \
  EMU_FN H operator+(H a, H b) { return H(float(a) + float(b)); } \
  EMU_FN H operator-(H a, H b) { return H(float(a) - float(b)); } \
  EMU_FN H operator*(H a, H b) { return H(float(a) * float(b)); } \
  EMU_FN H operator/(H a, H b) { return H(float(a) / float(b)); } \
  EMU_FN H operator-(H a) { return H(-float(a)); } \
  EMU_FN H& operator+=(H& a, H b) { return a = a + b; } \
  EMU_FN H& operator-=(H& a, H b) { return a = a - b; } \
  EMU_FN H& operator*=(H& a, H b) { return a = a * b; } \
  EMU_FN bool operator<(H a, H b) { return float(a) < float(b); } \
  EMU_FN bool operator>(H a, H b) { return float(a) > float(b); } \
  EMU_FN bool operator==(H a, H b) { return float(a) == float(b); } \
  EMU_FN H __hadd(H a, H b) { return a + b; } \
  EMU_FN H __hsub(H a, H b) { return a - b; } \
  EMU_FN H __hmul(H a, H b) { return a * b; } \
  EMU_FN H __hdiv(H a, H b) { return a / b; } \
  EMU_FN H __hfma(H a, H b, H c) { return H(fmaf(float(a), float(b), float(c))); } \
  EMU_FN H __hneg(H a) { return -a; } \
  EMU_FN H __habs(H a) { return H(fabsf(float(a))); } \
  EMU_FN H __hmax(H a, H b) { return H(fmaxf(float(a), float(b))); } \
  EMU_FN H __hmin(H a, H b) { return H(fminf(float(a), float(b))); } \
  EMU_FN bool __hgt(H a, H b) { return float(a) > float(b); } \
  EMU_FN bool __hlt(H a, H b) { return float(a) < float(b); } \
  EMU_FN bool __hisnan(H a) { return isnan(float(a)); } \
  EMU_FN H2 operator+(H2 a, H2 b) { return H2(a.x + b.x, a.y + b.y); } \
  EMU_FN H2 operator-(H2 a, H2 b) { return H2(a.x - b.x, a.y - b.y); } \
  EMU_FN H2 operator*(H2 a, H2 b) { return H2(a.x * b.x, a.y * b.y); } \
  EMU_FN H2 __hadd2(H2 a, H2 b) { return a + b; } \
  EMU_FN H2 __hsub2(H2 a, H2 b) { return a - b; } \
  EMU_FN H2 __hmul2(H2 a, H2 b) { return a * b; } \
  EMU_FN H2 __hfma2(H2 a, H2 b, H2 c) { return H2(__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)); } \
  EMU_FN H2 __hneg2(H2 a) { return H2(-a.x, -a.y); } \
  EMU_FN H2 __habs2(H2 a) { return H2(__habs(a.x), __habs(a.y)); } \
  EMU_FN H2 __hmax2(H2 a, H2 b) { return H2(__hmax(a.x, b.x), __hmax(a.y, b.y)); } \
  EMU_FN H2 __hmin2(H2 a, H2 b) { return H2(__hmin(a.x, b.x), __hmin(a.y, b.y)); } \
  EMU_FN float __low2float(H2 a) { return float(a.x); } \
  EMU_FN float __high2float(H2 a) { return float(a.y); }
EMU_HALF(__half, __half2)
EMU_HALF(__nv_bfloat16, __nv_bfloat162)
#undef EMU_HALF

EMU_FN float __half2float(__half h) { return float(h); }
EMU_FN __half __float2half(float f) { return __half(f); }
EMU_FN __half __float2half_rn(float f) { return __half(f); }
EMU_FN __half __double2half(double f) { return __half(f); }
EMU_FN __half __int2half_rn(int i) { return __half(float(i)); }
EMU_FN __half __uint2half_rn(unsigned i) { return __half(float(i)); }
EMU_FN __half __short2half_rn(short i) { return __half(float(i)); }
EMU_FN __half __ushort2half_rn(unsigned short i) { return __half(float(i)); }
EMU_FN int __half2int_rn(__half h) { return __float2int_rn(float(h)); }
EMU_FN __half __ushort_as_half(unsigned short u) { return emu_bits<__half>(u); }
EMU_FN __half __short_as_half(short u) { return emu_bits<__half>(u); }
EMU_FN unsigned short __half_as_ushort(__half h) { return emu_bits<unsigned short>(h); }
EMU_FN short __half_as_short(__half h) { return emu_bits<short>(h); }
EMU_FN __half hexp(__half h) { return __half(expf(float(h))); }
EMU_FN __half2 __half2half2(__half h) { return __half2(h, h); }
EMU_FN __half2 __halves2half2(__half a, __half b) { return __half2(a, b); }
EMU_FN __half2 make_half2(__half a, __half b) { return __half2(a, b); }
EMU_FN __half2 __float2half2_rn(float f) { return __half2(__half(f), __half(f)); }
EMU_FN __half2 __floats2half2_rn(float a, float b) { return __half2(__half(a), __half(b)); }
EMU_FN __half2 __float22half2_rn(float2 f) { return __half2(__half(f.x), __half(f.y)); }
EMU_FN float2 __half22float2(__half2 h) { return {float(h.x), float(h.y)}; }
EMU_FN __half __low2half(__half2 h) { return h.x; }
EMU_FN __half __high2half(__half2 h) { return h.y; }
EMU_FN __half2 __low2half2(__half2 h) { return __half2(h.x, h.x); }
EMU_FN __half2 __high2half2(__half2 h) { return __half2(h.y, h.y); }
EMU_FN __half2 __lowhigh2highlow(__half2 h) { return __half2(h.y, h.x); }

EMU_FN float __bfloat162float(__nv_bfloat16 h) { return float(h); }
EMU_FN __nv_bfloat16 __float2bfloat16(float f) { return __nv_bfloat16(f); }
EMU_FN __nv_bfloat16 __float2bfloat16_rn(float f) { return __nv_bfloat16(f); }
EMU_FN __nv_bfloat16 __ushort_as_bfloat16(unsigned short u) { return emu_bits<__nv_bfloat16>(u); }
EMU_FN unsigned short __bfloat16_as_ushort(__nv_bfloat16 h) { return emu_bits<unsigned short>(h); }
EMU_FN __nv_bfloat162 __bfloat162bfloat162(__nv_bfloat16 h) { return __nv_bfloat162(h, h); }
EMU_FN __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 a, __nv_bfloat16 b) { return __nv_bfloat162(a, b); }
EMU_FN __nv_bfloat162 make_bfloat162(__nv_bfloat16 a, __nv_bfloat16 b) { return __nv_bfloat162(a, b); }
EMU_FN __nv_bfloat162 __float2bfloat162_rn(float f) { return __nv_bfloat162(__nv_bfloat16(f), __nv_bfloat16(f)); }
EMU_FN __nv_bfloat162 __floats2bfloat162_rn(float a, float b) { return __nv_bfloat162(__nv_bfloat16(a), __nv_bfloat16(b)); }
EMU_FN __nv_bfloat162 __float22bfloat162_rn(float2 f) { return __floats2bfloat162_rn(f.x, f.y); }
EMU_FN float2 __bfloat1622float2(__nv_bfloat162 h) { return {float(h.x), float(h.y)}; }
EMU_FN __nv_bfloat16 __low2bfloat16(__nv_bfloat162 h) { return h.x; }
EMU_FN __nv_bfloat16 __high2bfloat16(__nv_bfloat162 h) { return h.y; }
