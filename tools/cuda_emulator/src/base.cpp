#include "base.h"
#include <map>
namespace cuda_emulator {

bool parseType(const string& s, Type& t) {
  static const std::map<string, Type> table = {
    {"pred", {K_PRED, 1}}, {"b8", {K_BITS, 8}}, {"b16", {K_BITS, 16}}, {"b32", {K_BITS, 32}}, {"b64", {K_BITS, 64}},
    {"b128", {K_BITS, 128}}, {"u8", {K_UINT, 8}}, {"u16", {K_UINT, 16}}, {"u32", {K_UINT, 32}}, {"u64", {K_UINT, 64}},
    {"s8", {K_SINT, 8}}, {"s16", {K_SINT, 16}}, {"s32", {K_SINT, 32}}, {"s64", {K_SINT, 64}}, {"f16", {K_FLOAT, 16}},
    {"f32", {K_FLOAT, 32}}, {"f64", {K_FLOAT, 64}}, {"f16x2", {K_F16X2, 32}}, {"bf16", {K_BF16, 16}},
    {"bf16x2", {K_BF16X2, 32}}, {"e4m3", {K_E4M3, 8}}, {"e5m2", {K_E5M2, 8}}, {"e4m3x2", {K_E4M3X2, 16}},
    {"e5m2x2", {K_E5M2X2, 16}}, {"tf32", {K_TF32, 32}}, {"s16x2", {K_S16X2, 32}}, {"u16x2", {K_U16X2, 32}},
    {"f32x2", {K_F32X2, 64}}};
  auto it = table.find(s);
  if (it == table.end()) return false;
  t = it->second;
  return true;
}

long double roundToInt(long double x, Round r) {
  switch (r) {
    case R_RZ: return truncl(x);
    case R_RM: return floorl(x);
    case R_RP: return ceill(x);
    case R_RNA: return roundl(x);
    default: return rintl(x);   // host rounding mode is nearest-even
  }
}

u64 packFloat(long double x, int eb, int mb, Round r) {
  const u64 sign = std::signbit(x) ? 1ull << (eb + mb) : 0;
  const u64 expMax = (1ull << eb) - 1;
  if (x != x) return (1ull << (eb + mb)) - 1;                 // canonical NaN: all ones but the sign
  long double a = fabsl(x);
  if (std::isinf(a)) return sign | expMax << mb;
  if (a == 0) return sign;
  const int bias = (1 << (eb - 1)) - 1;
  int e;
  frexpl(a, &e);
  e -= 1;                                                     // a = 1.f * 2^e
  if (e < 1 - bias) e = 1 - bias;                             // subnormal range
  Round mr = r;                                               // rounding of the magnitude
  if (r == R_RM) mr = sign ? R_RP : R_RZ;
  else if (r == R_RP) mr = sign ? R_RZ : R_RP;
  long double q = roundToInt(ldexpl(a, mb - e), mr);          // in units of the last place
  if (q >= ldexpl(1, mb + 1)) { q = ldexpl(1, mb); e++; }
  u64 m = (u64)q;
  if (e > bias) {                                             // overflow: infinity or largest finite
    if (mr == R_RZ) return sign | ((expMax << mb) - 1);
    return sign | expMax << mb;
  }
  if (m < (1ull << mb)) return sign | m;                      // subnormal
  return sign | (u64)(e + bias) << mb | (m & ((1ull << mb) - 1));
}

u8 f64ToE4M3(double x) {
  if (x != x) return 0x7f;
  u8 s = std::signbit(x) ? 0x80 : 0;
  double a = fabs(x);
  if (a >= 448) return s | 0x7e;
  int e;
  frexp(a, &e);
  e = std::max(e - 1, -6);
  double q = nearbyint(ldexp(a, 3 - e));
  if (q >= 16) { q = 8; e++; }
  if (a == 0) return s;
  u8 m = (u8)q, b = m < 8 ? m : (u8)((e + 7) << 3 | (m & 7));
  return s | (b > 0x7e ? 0x7e : b);
}

u8 f64ToE5M2(double x) {
  if (x != x) return 0x7f;
  u64 v = packFloat(x, 5, 2, R_RN);
  if ((v & 0x7f) >= 0x7c) v = (v & 0x80) | 0x7b;
  return (u8)v;
}
}  // namespace cuda_emulator
