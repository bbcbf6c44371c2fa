// Basic types, PTX scalar types and number-format conversions.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace cuda_emulator {
using std::string;
using std::vector;
typedef uint64_t u64; typedef int64_t s64;
typedef uint32_t u32; typedef int32_t s32;
typedef uint16_t u16; typedef int16_t s16;
typedef uint8_t u8;   typedef int8_t s8;

struct Error : std::runtime_error { using runtime_error::runtime_error; };

// PTX scalar type: kind plus width in bits. Packed kinds (F16X2 ...) have the width of the whole register.
enum Kind { K_PRED, K_BITS, K_UINT, K_SINT, K_FLOAT, K_BF16, K_F16X2, K_BF16X2, K_S16X2, K_U16X2,
            K_F32X2, K_TF32, K_E4M3, K_E5M2, K_E4M3X2, K_E5M2X2 };
struct Type {
  Kind k = K_BITS;
  int w = 32;
  int bytes() const { return w < 8 ? 1 : w / 8; }
  bool is(Kind kk, int ww) const { return k == kk && w == ww; }
};
bool parseType(const string& name, Type& t);

inline u64 maskTo(u64 v, int w) { return w >= 64 ? v : v & ((1ull << w) - 1); }
// Sign-extend (signed types) or zero-extend a value of type t to 64 bits.
inline u64 extend(u64 v, Type t) {
  if (t.w >= 64) return v;
  if (t.k == K_SINT) { int s = 64 - t.w; return (u64)((s64)(v << s) >> s); }
  return maskTo(v, t.w);
}

// --- bit casts -------------------------------------------------------------------------------------
inline float asF32(u64 v) { u32 u = (u32)v; float f; memcpy(&f, &u, 4); return f; }
inline u64 bitsF32(float f) { u32 u; memcpy(&u, &f, 4); return u; }
inline double asF64(u64 v) { double d; memcpy(&d, &v, 8); return d; }
inline u64 bitsF64(double d) { u64 v; memcpy(&v, &d, 8); return v; }

// --- half, bfloat16, fp8 -----------------------------------------------------------------------------
inline float halfToF32(u16 h) { _Float16 x; memcpy(&x, &h, 2); return (float)x; }
inline u16 f32ToHalf(float f) { if (f != f) return 0x7fff; _Float16 x = (_Float16)f; u16 h; memcpy(&h, &x, 2); return h; }
inline u16 f64ToHalf(double f) { if (f != f) return 0x7fff; _Float16 x = (_Float16)f; u16 h; memcpy(&h, &x, 2); return h; }
inline float bf16ToF32(u16 b) { return asF32((u32)b << 16); }
inline u16 f32ToBf16(float f) { if (f != f) return 0x7fff; u32 u = (u32)bitsF32(f); return (u + 0x7fff + (u >> 16 & 1)) >> 16; }
inline float e4m3ToF32(u8 b) {
  int e = b >> 3 & 15, m = b & 7;
  float v = e == 15 && m == 7 ? NAN : e ? ldexpf(1 + m / 8.f, e - 7) : ldexpf(m / 8.f, -6);
  return b >> 7 ? -v : v;
}
inline float e5m2ToF32(u8 b) { return halfToF32((u16)b << 8); }
u8 f64ToE4M3(double x);   // round to nearest even, saturate to finite (+-448)
u8 f64ToE5M2(double x);   // round to nearest even, saturate to finite (+-57344)

// Rounding modes of PTX: nearest even, towards zero, down, up, nearest with ties away.
enum Round { R_NONE, R_RN, R_RZ, R_RM, R_RP, R_RNA };
// Round an exactly represented value to a binary float format (explicit mantissa bits, exponent bits).
// long double holds every s64/u64/f64 exactly, so a single rounding happens here.
u64 packFloat(long double x, int expBits, int manBits, Round r);
long double roundToInt(long double x, Round r);
}  // namespace cuda_emulator
