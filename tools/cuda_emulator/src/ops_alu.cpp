// Arithmetic, logic, comparison and bit-field instructions.
#include "exec.h"
#include <algorithm>
#include <type_traits>

namespace cuda_emulator {

float minmaxF(float x, float y, bool isMax, bool nanProp) {
  if (x != x || y != y) { if (nanProp || (x != x && y != y)) return NAN; return x != x ? y : x; }
  if (x == y) return (std::signbit(x) != 0) == isMax ? y : x;      // -0 orders below +0
  return (x < y) != isMax ? x : y;
}

namespace {
// Value kinds the arithmetic handlers are instantiated for.
enum VK { V_F32, V_F64, V_F16, V_F16X2, V_BF16, V_BF16X2, V_F32X2, V_S16X2, V_U16X2, V_S16, V_S32, V_S64, V_U16, V_U32, V_U64, V_BAD };
VK kindOf(Type t) {
  switch (t.k) {
    case K_FLOAT: return t.w == 32 ? V_F32 : t.w == 64 ? V_F64 : V_F16;
    case K_F16X2: return V_F16X2;
    case K_BF16: return V_BF16;
    case K_BF16X2: return V_BF16X2;
    case K_F32X2: return V_F32X2;
    case K_S16X2: return V_S16X2;
    case K_U16X2: return V_U16X2;
    case K_SINT: return t.w == 64 ? V_S64 : t.w == 32 ? V_S32 : t.w == 16 ? V_S16 : V_BAD;
    case K_UINT: case K_BITS: return t.w == 64 ? V_U64 : t.w == 32 ? V_U32 : t.w == 16 ? V_U16 : V_BAD;
    default: return V_BAD;
  }
}
template <int K, class Op> inline u64 apply2(u64 x, u64 y, Op g) {
  if constexpr (K == V_F32) return bitsF32(g(asF32(x), asF32(y)));
  else if constexpr (K == V_F64) return bitsF64(g(asF64(x), asF64(y)));
  else if constexpr (K == V_F16) return f32ToHalf(g(halfToF32(x), halfToF32(y)));
  else if constexpr (K == V_F16X2) return (u64)f32ToHalf(g(halfToF32(x), halfToF32(y))) | (u64)f32ToHalf(g(halfToF32(x >> 16), halfToF32(y >> 16))) << 16;
  else if constexpr (K == V_BF16) return f32ToBf16(g(bf16ToF32(x), bf16ToF32(y)));
  else if constexpr (K == V_BF16X2) return (u64)f32ToBf16(g(bf16ToF32(x), bf16ToF32(y))) | (u64)f32ToBf16(g(bf16ToF32(x >> 16), bf16ToF32(y >> 16))) << 16;
  else if constexpr (K == V_F32X2) return bitsF32(g(asF32(x), asF32(y))) | bitsF32(g(asF32(x >> 32), asF32(y >> 32))) << 32;
  else if constexpr (K == V_S16X2) return (u64)(u16)g((s64)(s16)x, (s64)(s16)y) | (u64)(u16)g((s64)(s16)(x >> 16), (s64)(s16)(y >> 16)) << 16;
  else if constexpr (K == V_U16X2) return (u64)(u16)g((u64)(u16)x, (u64)(u16)y) | (u64)(u16)g((u64)(u16)(x >> 16), (u64)(u16)(y >> 16)) << 16;
  else if constexpr (K == V_S16) return (u16)g((s64)(s16)x, (s64)(s16)y);
  else if constexpr (K == V_S32) return (u32)g((s64)(s32)x, (s64)(s32)y);
  else if constexpr (K == V_S64) return (u64)g((s64)x, (s64)y);
  else if constexpr (K == V_U16) return (u16)g((u64)(u16)x, (u64)(u16)y);
  else if constexpr (K == V_U32) return (u32)g((u64)(u32)x, (u64)(u32)y);
  else return (u64)g(x, y);
}
template <int K, class Op> void binary(Exec& x) {
  const Type t = x.I->types.back();
  u64* d = x.dst();
  const u64 *a = x.src(1, t), *c = x.src(2, t);
  x.each([&](int l) { d[l] = apply2<K>(a[l], c[l], Op()); });
}
inline float flush(float v) { return fabsf(v) < 1.17549435e-38f ? copysignf(0.f, v) : v; }
inline float saturate(float v) { return v != v ? 0.f : std::min(1.f, std::max(0.f, v)); }
// .sat, .relu and (f32 only) .ftz variants
template <int K, class Op> void binaryMod(Exec& x) {
  const Inst& I = *x.I;
  const Type t = I.types.back();
  const bool ftz = I.has("ftz") && K == V_F32, sat = I.sat, relu = I.relu;
  u64* d = x.dst();
  const u64 *a = x.src(1, t), *c = x.src(2, t);
  auto g = [&](auto p, auto q) {
    typedef decltype(p) V;
    if constexpr (std::is_same<V, float>::value) {
      if (ftz) { p = flush(p); q = flush(q); }
      float r = Op()(p, q);
      if (ftz) r = flush(r);
      if (sat) r = saturate(r);
      if (relu) r = r != r ? r : r > 0 ? r : 0.f;
      return r;
    } else if constexpr (std::is_same<V, double>::value) return Op()(p, q);
    else {
      V r = Op()(p, q);
      if (sat && K == V_S32) r = (V)std::min<s64>(INT32_MAX, std::max<s64>(INT32_MIN, (s64)r));
      if (relu && (s64)r < 0) r = 0;
      return r;
    }
  };
  x.each([&](int l) { d[l] = apply2<K>(a[l], c[l], g); });
}
template <class Op> Handler pick(const Inst& I) {
  bool mod = I.sat || I.relu || I.has("ftz");
#define CASE(K) case K: return mod ? binaryMod<K, Op> : binary<K, Op>;
  switch (kindOf(I.type())) {
    CASE(V_F32) CASE(V_F64) CASE(V_F16) CASE(V_F16X2) CASE(V_BF16) CASE(V_BF16X2) CASE(V_F32X2) CASE(V_S16X2)
    CASE(V_U16X2) CASE(V_S16) CASE(V_S32) CASE(V_S64) CASE(V_U16) CASE(V_U32) CASE(V_U64)
    default: return nullptr;
  }
#undef CASE
}
template <class Op> Handler pickInt(const Inst& I) {
  switch (kindOf(I.type())) {
    case V_S16: return binary<V_S16, Op>; case V_S32: return binary<V_S32, Op>; case V_S64: return binary<V_S64, Op>;
    case V_U16: return binary<V_U16, Op>; case V_U32: return binary<V_U32, Op>; case V_U64: return binary<V_U64, Op>;
    default: return nullptr;
  }
}
struct Add { template <class V> V operator()(V x, V y) const { if constexpr (std::is_integral<V>::value) return (V)((u64)x + (u64)y); else return x + y; } };
struct Sub { template <class V> V operator()(V x, V y) const { if constexpr (std::is_integral<V>::value) return (V)((u64)x - (u64)y); else return x - y; } };
struct Mul { template <class V> V operator()(V x, V y) const { if constexpr (std::is_integral<V>::value) return (V)((u64)x * (u64)y); else return x * y; } };
struct Div {
  template <class V> V operator()(V x, V y) const {
    if constexpr (std::is_floating_point<V>::value) return x / y;
    else return y == 0 ? (V) ~(V)0 : std::is_signed<V>::value && y == (V)-1 ? (V)(0 - (u64)x) : (V)(x / y);
  }
};
struct Rem { template <class V> V operator()(V x, V y) const { return y == 0 ? x : std::is_signed<V>::value && y == (V)-1 ? (V)0 : (V)(x % y); } };
template <bool MAX, bool NANP> struct MinMax {
  template <class V> V operator()(V x, V y) const {
    if constexpr (std::is_floating_point<V>::value) {
      if (x != x || y != y) { if (NANP || (x != x && y != y)) return (V)NAN; return x != x ? y : x; }
      if (x == y) return std::signbit(x) == MAX ? y : x;
      return (x < y) != MAX ? x : y;
    } else return (x < y) != MAX ? x : y;
  }
};
// min/max.xorsign.abs: smaller or larger magnitude, sign is the product of both signs
template <bool MAX, bool NANP> struct MinMaxXor {
  template <class V> V operator()(V x, V y) const {
    if constexpr (std::is_floating_point<V>::value) {
      V r = MinMax<MAX, NANP>()((V)std::fabs(x), (V)std::fabs(y));
      return std::signbit(x) != std::signbit(y) ? -r : r;
    } else return x;
  }
};
template <bool MAX> void minmax3(Exec& x) {              // three-operand f32 form
  const Type t = x.I->types.back();
  const bool np = x.I->nan, ab = x.I->has("abs");
  u64* d = x.dst();
  const u64 *a = x.src(1, t), *c = x.src(2, t), *e = x.src(3, t);
  auto v = [&](u64 q) { float f = asF32(q); return ab ? fabsf(f) : f; };
  x.each([&](int l) { float r = minmaxF(minmaxF(v(a[l]), v(c[l]), MAX, np), v(e[l]), MAX, np); d[l] = r != r ? 0x7fffffff : bitsF32(r); });
}
// canonical NaN of f32 min/max is 0x7fffffff
template <class Op> void minmaxF32(Exec& x) {
  const Type t = x.I->types.back();
  const bool ftz = x.I->has("ftz");
  u64* d = x.dst();
  const u64 *a = x.src(1, t), *c = x.src(2, t);
  x.each([&](int l) {
    float p = asF32(a[l]), q = asF32(c[l]);
    if (ftz) { p = flush(p); q = flush(q); }
    float r = Op()(p, q);
    d[l] = r != r ? 0x7fffffff : bitsF32(r);
  });
}
template <bool MAX> Handler pickMinMax(const Inst& I) {
  if (I.o.size() == 4) return I.type().is(K_FLOAT, 32) && !I.has("xorsign") ? minmax3<MAX> : nullptr;
  if (I.o.size() != 3) return nullptr;
  bool f32 = I.type().is(K_FLOAT, 32);
  if (I.has("xorsign")) {
    if (f32) return I.nan ? minmaxF32<MinMaxXor<MAX, true>> : minmaxF32<MinMaxXor<MAX, false>>;
    return I.nan ? pick<MinMaxXor<MAX, true>>(I) : pick<MinMaxXor<MAX, false>>(I);
  }
  if (f32) return I.nan ? minmaxF32<MinMax<MAX, true>> : minmaxF32<MinMax<MAX, false>>;
  return I.nan ? pick<MinMax<MAX, true>>(I) : pick<MinMax<MAX, false>>(I);
}

// --- multiply, multiply-add ------------------------------------------------------------------------------
void mulInt(Exec& x) {                                   // mul/mad .lo .hi .wide, any width
  const Inst& I = *x.I;
  const Type t = I.type();
  const bool mad = I.o.size() > 3, hi = I.hi, sat = I.sat;
  const int ow = I.wide ? t.w * 2 : t.w;
  u64* d = x.dst();
  const u64 *a = x.src(1, t), *c = x.src(2, t), *e = mad ? x.src(3, t) : nullptr;
  x.each([&](int l) {
    u64 r;
    if (t.k == K_SINT) {
      __int128 q = (__int128)(s64)extend(a[l], t) * (s64)extend(c[l], t);
      r = (u64)(hi ? q >> t.w : q);
      if (mad && sat) { s64 s = (s64)(s32)r + (s32)e[l]; d[l] = (u32)std::min<s64>(INT32_MAX, std::max<s64>(INT32_MIN, s)); return; }
    } else {
      unsigned __int128 q = (unsigned __int128)maskTo(a[l], t.w) * maskTo(c[l], t.w);
      r = (u64)(hi ? q >> t.w : q);
    }
    d[l] = maskTo(mad ? r + e[l] : r, ow);
  });
}
template <bool MAD> void mulLo32(Exec& x) {
  u64* d = x.dst();
  const u64 *a = x.src(1), *c = x.src(2), *e = MAD ? x.src(3) : a;
  x.each([&](int l) { d[l] = (u32)a[l] * (u32)c[l] + (MAD ? (u32)e[l] : 0); });
}
template <bool MAD, bool SIGNED> void mulWide32(Exec& x) {
  u64* d = x.dst();
  const u64 *a = x.src(1), *c = x.src(2), *e = MAD ? x.src(3) : a;
  x.each([&](int l) { d[l] = (SIGNED ? (u64)((s64)(s32)a[l] * (s32)c[l]) : (u64)(u32)a[l] * (u32)c[l]) + (MAD ? e[l] : 0); });
}
void mul24(Exec& x) {
  const Inst& I = *x.I;
  const Type t = I.type();
  const bool mad = I.op == "mad24", hi = I.hi;
  u64* d = x.dst();
  const u64 *a = x.src(1), *c = x.src(2), *e = mad ? x.src(3) : nullptr;
  auto v = [&](u64 q) { return t.k == K_SINT ? (s64)((s32)((u32)q << 8) >> 8) : (s64)(q & 0xffffff); };
  x.each([&](int l) { u64 p = (u64)(v(a[l]) * v(c[l])); d[l] = (u32)((hi ? p >> 16 : p) + (mad ? e[l] : 0)); });
}
// p + z where the exact sum may need more than 53 bits: force the last bit odd so a later rounding is still correct
double sumToOdd(double p, double z) {
  double s = p + z;
  if (!std::isfinite(s)) return s;
  double bb = s - p, err = (p - (s - bb)) + (z - bb);
  if (err != 0) { u64 u = bitsF64(s); if (!(u & 1)) { u = (err > 0) == (s > 0) ? u + 1 : u - 1; s = asF64(u); } }
  return s;
}
float toOddF32(double s) {
  float f = (float)s;
  if ((double)f != s && std::isfinite(f) && s == s) { u32 u = (u32)bitsF32(f); if (fabs((double)f) > fabs(s)) u--; f = asF32(u | 1); }
  return f;
}
double post(double r, bool sat, bool relu) {
  if (sat) r = r != r ? 0 : std::min(1.0, std::max(0.0, r));
  if (relu) r = r != r ? r : r > 0 ? r : 0.0;
  return r;
}
template <int K> void fmaT(Exec& x) {
  const Inst& I = *x.I;
  const Type t = I.type();
  const bool sat = I.sat, relu = I.relu;
  u64* d = x.dst();
  const u64 *a = x.src(1, t), *c = x.src(2, t), *e = x.src(3, t);
  auto h = [&](u16 p, u16 q, u16 r) -> u64 { return f64ToHalf(post((double)halfToF32(p) * halfToF32(q) + halfToF32(r), sat, relu)); };
  auto b = [&](u16 p, u16 q, u16 r) -> u64 { return f32ToBf16(toOddF32(post(sumToOdd((double)bf16ToF32(p) * bf16ToF32(q), bf16ToF32(r)), sat, relu))); };
  x.each([&](int l) {
    u64 p = a[l], q = c[l], r = e[l];
    if constexpr (K == V_F32) d[l] = bitsF32(fmaf(asF32(p), asF32(q), asF32(r)));
    else if constexpr (K == V_F64) d[l] = bitsF64(std::fma(asF64(p), asF64(q), asF64(r)));
    else if constexpr (K == V_F16) d[l] = h(p, q, r);
    else if constexpr (K == V_F16X2) d[l] = h(p, q, r) | h(p >> 16, q >> 16, r >> 16) << 16;
    else if constexpr (K == V_BF16) d[l] = b(p, q, r);
    else if constexpr (K == V_BF16X2) d[l] = b(p, q, r) | b(p >> 16, q >> 16, r >> 16) << 16;
    else d[l] = bitsF32(fmaf(asF32(p), asF32(q), asF32(r))) | bitsF32(fmaf(asF32(p >> 32), asF32(q >> 32), asF32(r >> 32))) << 32;
  });
}
void fmaF32Mod(Exec& x) {
  const Inst& I = *x.I;
  const Type t = I.type();
  const bool ftz = I.has("ftz"), sat = I.sat;
  u64* d = x.dst();
  const u64 *a = x.src(1, t), *c = x.src(2, t), *e = x.src(3, t);
  x.each([&](int l) {
    float p = asF32(a[l]), q = asF32(c[l]), r = asF32(e[l]);
    if (ftz) { p = flush(p); q = flush(q); r = flush(r); }
    float v = fmaf(p, q, r);
    if (ftz) v = flush(v);
    if (sat) v = saturate(v);
    d[l] = bitsF32(v);
  });
}
Handler pickFma(const Inst& I) {
  switch (kindOf(I.type())) {
    case V_F32: return I.sat || I.has("ftz") ? fmaF32Mod : fmaT<V_F32>;
    case V_F64: return fmaT<V_F64>;
    case V_F16: return fmaT<V_F16>;
    case V_F16X2: return fmaT<V_F16X2>;
    case V_BF16: return fmaT<V_BF16>;
    case V_BF16X2: return fmaT<V_BF16X2>;
    case V_F32X2: return fmaT<V_F32X2>;
    default: return nullptr;
  }
}
// add/sub/mad with carry in and/or out
void carryOp(Exec& x) {
  const Inst& I = *x.I;
  const Type t = I.type();
  if (t.w != 32 && t.w != 64) x.fault(x.firstLane(), "carry arithmetic of this width");
  const bool in = I.op == "addc" || I.op == "subc" || I.op == "madc", out = I.has("cc"), sub = I.op == "sub" || I.op == "subc", mad = I.o.size() > 3;
  u64* d = x.dst();
  const u64 *a = x.src(1, t), *c = x.src(2, t), *e = mad ? x.src(3, t) : nullptr;
  x.each([&](int l) {
    unsigned __int128 p = maskTo(a[l], t.w), q = maskTo(c[l], t.w);
    if (mad) {
      unsigned __int128 pr = t.k == K_SINT ? (unsigned __int128)((__int128)(s64)extend(a[l], t) * (s64)extend(c[l], t)) : p * q;
      p = maskTo((u64)(I.hi ? pr >> t.w : pr), t.w);
      q = maskTo(e[l], t.w);
    }
    u32 ci = in ? (x.w.carry >> l & 1) : 0;
    unsigned __int128 r = sub ? p - q - ci : p + q + ci;
    if (out) x.w.carry = (x.w.carry & ~(1u << l)) | (u32)((u64)(r >> t.w) & 1) << l;
    d[l] = maskTo((u64)r, t.w);
  });
}

// --- logic and shifts -------------------------------------------------------------------------------------
struct And { u64 operator()(u64 x, u64 y) const { return x & y; } };
struct Or  { u64 operator()(u64 x, u64 y) const { return x | y; } };
struct Xor { u64 operator()(u64 x, u64 y) const { return x ^ y; } };
template <class Op> void logic(Exec& x) {
  const Type t = x.I->type();
  const u64 keep = maskTo(~0ull, t.w);
  u64* d = x.dst();
  const u64 *a = x.src(1, t), *c = x.src(2, t);
  x.each([&](int l) { d[l] = Op()(a[l], c[l]) & keep; });
}
void logicNot(Exec& x) {
  const Type t = x.I->type();
  u64* d = x.dst();
  const u64* a = x.src(1, t);
  x.each([&](int l) { d[l] = t.k == K_PRED ? !a[l] : maskTo(~a[l], t.w); });
}
void cnot(Exec& x) {
  const Type t = x.I->type();
  u64* d = x.dst();
  const u64* a = x.src(1, t);
  x.each([&](int l) { d[l] = maskTo(a[l], t.w) == 0; });
}
void shl(Exec& x) {
  const Type t = x.I->type();
  u64* d = x.dst();
  const u64 *a = x.src(1), *c = x.src(2);
  x.each([&](int l) { u32 s = (u32)c[l]; d[l] = s >= (u32)t.w ? 0 : maskTo(a[l] << s, t.w); });
}
void shr(Exec& x) {
  const Type t = x.I->type();
  u64* d = x.dst();
  const u64 *a = x.src(1), *c = x.src(2);
  if (t.k == K_SINT) x.each([&](int l) { d[l] = maskTo((u64)((s64)extend(a[l], t) >> std::min<u32>((u32)c[l], 63)), t.w); });
  else x.each([&](int l) { u32 s = (u32)c[l]; d[l] = s >= (u32)t.w ? 0 : maskTo(a[l], t.w) >> s; });
}
void negAbs(Exec& x) {
  const Type t = x.I->type();
  const bool n = x.I->op == "neg", ftz = x.I->has("ftz");
  u64* d = x.dst();
  const u64* a = x.src(1, t);
  x.each([&](int l) {
    u64 v = a[l];
    switch (t.k) {
      case K_FLOAT: case K_BF16: {
        u64 s = 1ull << (t.w - 1);
        if (ftz && t.w == 32) v = bitsF32(flush(asF32(v)));
        d[l] = n ? v ^ s : v & ~s;
        break;
      }
      case K_F16X2: case K_BF16X2: d[l] = n ? v ^ 0x80008000u : v & 0x7fff7fffu; break;
      default: { s64 q = (s64)extend(v, t); d[l] = maskTo((u64)(n || q < 0 ? 0 - (u64)q : (u64)q), t.w); }
    }
  });
}

// --- comparison ---------------------------------------------------------------------------------------------
enum Cmp { C_EQ, C_NE, C_LT, C_LE, C_GT, C_GE, C_EQU, C_NEU, C_LTU, C_LEU, C_GTU, C_GEU, C_NUM, C_NAN, C_INVALID };
template <int C, class V> inline bool compare(V x, V y) {
  switch (C) {
    case C_EQ: return x == y;
    case C_NE: return std::is_floating_point<V>::value ? x < y || x > y : x != y;
    case C_LT: return x < y;
    case C_LE: return x <= y;
    case C_GT: return x > y;
    case C_GE: return x >= y;
    case C_EQU: return !(x < y || x > y);
    case C_NEU: return x != y;
    case C_LTU: return !(x >= y);
    case C_LEU: return !(x > y);
    case C_GTU: return !(x <= y);
    case C_GEU: return !(x < y);
    case C_NUM: return x == x && y == y;
    default: return x != x || y != y;
  }
}
template <int K, int C> inline bool compareBits(u64 x, u64 y) {
  if constexpr (K == V_F32) return compare<C>(asF32(x), asF32(y));
  else if constexpr (K == V_F64) return compare<C>(asF64(x), asF64(y));
  else if constexpr (K == V_F16) return compare<C>(halfToF32(x), halfToF32(y));
  else if constexpr (K == V_BF16) return compare<C>(bf16ToF32(x), bf16ToF32(y));
  else if constexpr (K == V_S16) return compare<C>((s16)x, (s16)y);
  else if constexpr (K == V_S32) return compare<C>((s32)x, (s32)y);
  else if constexpr (K == V_S64) return compare<C>((s64)x, (s64)y);
  else if constexpr (K == V_U16) return compare<C>((u16)x, (u16)y);
  else if constexpr (K == V_U32) return compare<C>((u32)x, (u32)y);
  else return compare<C>(x, y);
}
enum { B_NONE, B_AND, B_OR, B_XOR };
inline bool combine(int op, bool r, bool p) { return op == B_AND ? r && p : op == B_OR ? r || p : op == B_XOR ? r != p : r; }
int boolOp(const Inst& I) { return I.mods.size() < 2 ? B_NONE : I.mods[1] == "and" ? B_AND : I.mods[1] == "or" ? B_OR : I.mods[1] == "xor" ? B_XOR : B_NONE; }

template <int K, int C> void setp(Exec& x) {
  const Inst& I = *x.I;
  const Type t = I.types.back();
  u64* d = x.dst();
  const u64 *a = x.src(1, t), *c = x.src(2, t);
  if (I.sub == B_NONE && I.o[0].sub.empty()) { x.each([&](int l) { d[l] = compareBits<K, C>(a[l], c[l]); }); return; }
  u64* d2 = I.o[0].sub.size() ? x.dst(I.o[0].sub[0]) : nullptr;
  const u64* p = I.sub ? x.src(3, {K_PRED, 1}) : nullptr;
  x.each([&](int l) {
    bool r = compareBits<K, C>(a[l], c[l]), q = p && p[l];
    d[l] = combine(I.sub, r, q);
    if (d2) d2[l] = combine(I.sub, !r, q);
  });
}
template <int K, int C> void setT(Exec& x) {             // set: result in a register instead of a predicate
  const Inst& I = *x.I;
  const Type t = I.types.back(), dt = I.types[I.types.size() - 2];
  u64* d = x.dst();
  const u64 *a = x.src(1, t), *c = x.src(2, t), *p = I.sub ? x.src(3, {K_PRED, 1}) : nullptr;
  const u64 one = dt.is(K_FLOAT, 32) ? bitsF32(1.f) : dt.is(K_FLOAT, 16) ? 0x3c00 : dt.k == K_BF16 ? 0x3f80 : maskTo(~0ull, dt.w);
  x.each([&](int l) { d[l] = combine(I.sub, compareBits<K, C>(a[l], c[l]), p && p[l]) ? one : 0; });
}
template <int K1, int C> void setPacked(Exec& x) {       // f16x2 / bf16x2, setp and set
  const Inst& I = *x.I;
  const Type t = I.types.back();
  const bool isSet = I.op == "set";
  const Type dt = isSet ? I.types[I.types.size() - 2] : Type{K_PRED, 1};
  u64* d = x.dst();
  u64* d2 = I.o[0].sub.size() ? x.dst(I.o[0].sub[0]) : nullptr;
  const u64 *a = x.src(1, t), *c = x.src(2, t), *p = I.sub ? x.src(3, {K_PRED, 1}) : nullptr;
  const u64 one = dt.k == K_F16X2 ? 0x3c00 : dt.k == K_BF16X2 ? 0x3f80 : 0xffff;
  x.each([&](int l) {
    bool lo = combine(I.sub, compareBits<K1, C>(a[l], c[l]), p && p[l]), hi = combine(I.sub, compareBits<K1, C>(a[l] >> 16, c[l] >> 16), p && p[l]);
    if (isSet) d[l] = (lo ? one : 0) | (hi ? one << 16 : 0);
    else { d[l] = lo; if (d2) d2[l] = hi; }
  });
}
template <int C> Handler pickSetC(Inst& I, bool isSet) {
  Type t = I.types.back();
  if (t.k == K_F16X2) return setPacked<V_F16, C>;
  if (t.k == K_BF16X2) return setPacked<V_BF16, C>;
#define CASE(K) case K: return isSet ? setT<K, C> : setp<K, C>;
  switch (kindOf(t)) {
    CASE(V_F32) CASE(V_F64) CASE(V_F16) CASE(V_BF16) CASE(V_S16) CASE(V_S32) CASE(V_S64) CASE(V_U16) CASE(V_U32) CASE(V_U64)
    default: return nullptr;
  }
#undef CASE
}
Handler pickSet(Inst& I) {
  static const std::map<string, int> ops = {{"eq", C_EQ}, {"ne", C_NE}, {"lt", C_LT}, {"le", C_LE}, {"gt", C_GT}, {"ge", C_GE},
    {"lo", C_LT}, {"ls", C_LE}, {"hi", C_GT}, {"hs", C_GE}, {"equ", C_EQU}, {"neu", C_NEU}, {"ltu", C_LTU}, {"leu", C_LEU},
    {"gtu", C_GTU}, {"geu", C_GEU}, {"num", C_NUM}, {"nan", C_NAN}};
  auto f = I.mods.empty() ? ops.end() : ops.find(I.mods[0]);
  if (f == ops.end() || I.types.empty()) return nullptr;
  bool isSet = I.op == "set";
  if (isSet && I.types.size() < 2) return nullptr;
  I.sub = boolOp(I);
  switch (f->second) {
#define CASE(C) case C: return pickSetC<C>(I, isSet);
    CASE(C_EQ) CASE(C_NE) CASE(C_LT) CASE(C_LE) CASE(C_GT) CASE(C_GE) CASE(C_EQU) CASE(C_NEU) CASE(C_LTU) CASE(C_LEU) CASE(C_GTU) CASE(C_GEU) CASE(C_NUM) CASE(C_NAN)
#undef CASE
  }
  return nullptr;
}
void selp(Exec& x) {
  const Type t = x.I->type();
  u64* d = x.dst();
  const u64 *a = x.src(1, t), *c = x.src(2, t), *p = x.src(3, {K_PRED, 1});
  x.each([&](int l) { d[l] = p[l] ? a[l] : c[l]; });
}
void slct(Exec& x) {
  const Type t = x.I->type(), ct = x.I->types.back();
  u64* d = x.dst();
  const u64 *a = x.src(1, t), *c = x.src(2, t), *p = x.src(3, ct);
  x.each([&](int l) { d[l] = (ct.k == K_FLOAT ? asF32(p[l]) >= 0 : (s32)p[l] >= 0) ? a[l] : c[l]; });
}

// --- bit manipulation -------------------------------------------------------------------------------------
template <class Fn> void unary(Exec& x, Fn f) {
  const Type t = x.I->types.back();
  u64* d = x.dst();
  const u64* a = x.src(1, t);
  x.each([&](int l) { d[l] = f(a[l], t); });
}
void popc(Exec& x) { unary(x, [](u64 v, Type t) -> u64 { return __builtin_popcountll(maskTo(v, t.w)); }); }
void clz(Exec& x) { unary(x, [](u64 v, Type t) -> u64 { v = maskTo(v, t.w); return v ? __builtin_clzll(v) - (64 - t.w) : t.w; }); }
void brev(Exec& x) { unary(x, [](u64 v, Type t) { u64 r = 0; for (int i = 0; i < t.w; i++) r |= (v >> i & 1) << (t.w - 1 - i); return r; }); }
void bfind(Exec& x) {
  const bool sa = x.I->has("shiftamt");
  unary(x, [sa](u64 v, Type t) -> u64 {
    v = maskTo(v, t.w);
    if (t.k == K_SINT && (v >> (t.w - 1) & 1)) v = maskTo(~v, t.w);
    if (!v) return 0xffffffffu;
    int p = 63 - __builtin_clzll(v);
    return sa ? t.w - 1 - p : p;
  });
}
void bfe(Exec& x) {
  const Type t = x.I->type();
  u64* d = x.dst();
  const u64 *a = x.src(1), *p = x.src(2), *n = x.src(3);
  x.each([&](int l) {
    u32 pos = p[l] & 255, len = n[l] & 255;
    u64 v = maskTo(a[l], t.w);
    bool sign = t.k == K_SINT && len && (v >> std::min<u32>(pos + len - 1, t.w - 1) & 1);
    u64 r = pos >= (u32)t.w ? 0 : v >> pos;
    u32 have = pos >= (u32)t.w ? 0 : std::min<u32>(len, t.w - pos);   // real bits; above them the sign
    r = maskTo(r, have);
    if (sign) r |= ~maskTo(~0ull, have);
    d[l] = maskTo(r, t.w);
  });
}
void bfi(Exec& x) {
  const Type t = x.I->type();
  u64* d = x.dst();
  const u64 *a = x.src(1), *c = x.src(2), *p = x.src(3), *n = x.src(4);
  x.each([&](int l) {
    u32 pos = p[l] & 255, len = n[l] & 255;
    u64 keep = pos >= (u32)t.w || !len ? 0 : maskTo(maskTo(~0ull, std::min<u32>(len, 64)) << pos, t.w);
    d[l] = maskTo((c[l] & ~keep) | ((pos < 64 ? a[l] << pos : 0) & keep), t.w);
  });
}
enum { P_INDEX, P_F4E, P_B4E, P_RC8, P_ECL, P_ECR, P_RC16 };
void prmt(Exec& x) {
  const int mode = x.I->sub;
  u64* d = x.dst();
  const u64 *a = x.src(1), *c = x.src(2), *s = x.src(3);
  x.each([&](int l) {
    u64 t = (u64)(u32)c[l] << 32 | (u32)a[l];
    u32 r = 0, k3 = s[l] & 3;
    for (u32 i = 0; i < 4; i++) {
      u32 k;
      switch (mode) {
        case P_F4E: k = k3 + i; break;
        case P_B4E: k = (k3 - i) & 7; break;
        case P_RC8: k = k3; break;
        case P_ECL: k = std::max(i, k3); break;
        case P_ECR: k = std::min(i, k3); break;
        case P_RC16: k = (k3 & 1) * 2 + (i & 1); break;
        default: k = s[l] >> (4 * i) & 15;
      }
      u32 by = t >> (8 * (k & 7)) & 255;
      if (k & 8) by = by & 128 ? 255 : 0;
      r |= by << (8 * i);
    }
    d[l] = r;
  });
}
void lop3(Exec& x) {
  u64* d = x.dst();
  const u64 *a = x.src(1), *c = x.src(2), *e = x.src(3);
  const u32 lut = (u32)x.I->o[4].imm;
  x.each([&](int l) {
    u32 r = 0, A = a[l], B = c[l], C = e[l];
    for (u32 i = 0; i < 8; i++)
      r |= (0u - (lut >> i & 1)) & (i & 4 ? A : ~A) & (i & 2 ? B : ~B) & (i & 1 ? C : ~C);
    d[l] = r;
  });
}
void shf(Exec& x) {
  const bool left = x.I->has("l"), clamp = x.I->has("clamp");
  u64* d = x.dst();
  const u64 *a = x.src(1), *c = x.src(2), *s = x.src(3);
  x.each([&](int l) {
    u32 n = clamp ? std::min<u32>(s[l], 32) : s[l] & 31;
    u64 v = (u64)(u32)c[l] << 32 | (u32)a[l];
    d[l] = left ? (u32)(n == 32 ? v : (v << n) >> 32) : (u32)(v >> n);
  });
}
void bmsk(Exec& x) {
  const bool clamp = x.I->has("clamp");
  u64* d = x.dst();
  const u64 *a = x.src(1), *c = x.src(2);
  x.each([&](int l) {
    u32 p = a[l], n = c[l];
    if (!clamp) { p &= 31; n &= 31; }
    d[l] = p >= 32 ? 0 : (u32)((n >= 32 ? 0xffffffffull : (1ull << n) - 1) << p);
  });
}
void szext(Exec& x) {
  const Type t = x.I->types.back();
  const bool clamp = x.I->has("clamp");
  u64* d = x.dst();
  const u64 *a = x.src(1), *c = x.src(2);
  x.each([&](int l) {
    u32 n = c[l], v = a[l];
    if (!clamp) n &= 31;
    d[l] = n >= 32 ? v : n == 0 ? 0 : t.k == K_SINT ? (u32)((s32)(v << (32 - n)) >> (32 - n)) : v & ((1u << n) - 1);
  });
}
void dp4a(Exec& x) {
  const Type ta = x.I->types[0], tb = x.I->types[1];
  u64* d = x.dst();
  const u64 *a = x.src(1), *c = x.src(2), *e = x.src(3);
  x.each([&](int l) {
    s64 s = (s32)e[l];
    for (int i = 0; i < 4; i++)
      s += (ta.k == K_SINT ? (s64)(s8)(a[l] >> 8 * i) : (s64)(u8)(a[l] >> 8 * i)) * (tb.k == K_SINT ? (s64)(s8)(c[l] >> 8 * i) : (s64)(u8)(c[l] >> 8 * i));
    d[l] = (u32)s;
  });
}
void dp2a(Exec& x) {
  const Type ta = x.I->types[0], tb = x.I->types[1];
  const bool hi = x.I->hi;
  u64* d = x.dst();
  const u64 *a = x.src(1), *c = x.src(2), *e = x.src(3);
  x.each([&](int l) {
    s64 s = (s32)e[l];
    for (int i = 0; i < 2; i++) {
      int k = i + (hi ? 2 : 0);
      s += (ta.k == K_SINT ? (s64)(s16)(a[l] >> 16 * i) : (s64)(u16)(a[l] >> 16 * i)) * (tb.k == K_SINT ? (s64)(s8)(c[l] >> 8 * k) : (s64)(u8)(c[l] >> 8 * k));
    }
    d[l] = (u32)s;
  });
}
void sad(Exec& x) {
  const Type t = x.I->type();
  u64* d = x.dst();
  const u64 *a = x.src(1), *c = x.src(2), *e = x.src(3);
  x.each([&](int l) { s64 p = (s64)extend(a[l], t), q = (s64)extend(c[l], t); d[l] = maskTo((u64)(p > q ? p - q : q - p) + e[l], t.w); });
}
// vabsdiff4/vabsdiff2 on packed bytes or halves; .add sums the lanes onto c, otherwise c fills nothing (full masks only)
void vabsdiff(Exec& x) {
  const Inst& I = *x.I;
  const int w = I.op == "vabsdiff4" ? 8 : 16;
  const Type ta = {I.types[1].k, w}, tb = {I.types[2].k, w};
  const bool add = I.has("add");
  u64* d = x.dst();
  const u64 *a = x.src(1), *c = x.src(2), *e = x.src(3);
  x.each([&](int l) {
    u64 r = 0, sum = e[l];
    for (int i = 0; i < 32; i += w) {
      s64 q = (s64)extend(a[l] >> i, ta) - (s64)extend(c[l] >> i, tb);
      u64 v = (u64)(q < 0 ? -q : q);
      sum += v;
      r |= maskTo(v, w) << i;
    }
    d[l] = (u32)(add ? sum : r);
  });
}
void testp(Exec& x) {
  const Type t = x.I->types.back();
  const string mode = x.I->mods[0];
  u64* d = x.dst();
  const u64* a = x.src(1, t);
  x.each([&](int l) {
    int c = t.w == 32 ? std::fpclassify(asF32(a[l])) : std::fpclassify(asF64(a[l]));
    d[l] = mode == "finite" ? c != FP_NAN && c != FP_INFINITE : mode == "infinite" ? c == FP_INFINITE : mode == "number" ? c != FP_NAN
         : mode == "notanumber" ? c == FP_NAN : mode == "normal" ? c == FP_NORMAL : c == FP_SUBNORMAL;
  });
}
void copysignOp(Exec& x) {                               // d = |b| with the sign of a
  const Type t = x.I->type();
  const u64 s = 1ull << (t.w - 1);
  u64* d = x.dst();
  const u64 *a = x.src(1, t), *c = x.src(2, t);
  x.each([&](int l) { d[l] = (c[l] & ~s) | (a[l] & s); });
}

// --- elementary functions: computed accurately, not with the hardware's approximation ------------------------
struct FSqrt { double operator()(double v) const { return std::sqrt(v); } };
struct FRsqrt { double operator()(double v) const { return 1 / std::sqrt(v); } };
struct FRcp { double operator()(double v) const { return 1 / v; } };
struct FEx2 { double operator()(double v) const { return std::exp2(v); } };
struct FLg2 { double operator()(double v) const { return std::log2(v); } };
struct FSin { double operator()(double v) const { return std::sin(v); } };
struct FCos { double operator()(double v) const { return std::cos(v); } };
struct FTanh { double operator()(double v) const { return std::tanh(v); } };
template <class Fn> void elementary(Exec& x) {
  const Type t = x.I->type();
  const bool ftz = x.I->has("ftz");
  u64* d = x.dst();
  const u64* a = x.src(1, t);
  Fn f;
  x.each([&](int l) {
    u64 v = a[l];
    switch (t.k) {
      case K_FLOAT:
        if (t.w == 32) {
          float p = asF32(v);
          if (ftz) p = flush(p);
          float r = std::is_same<Fn, FSqrt>::value ? sqrtf(p) : std::is_same<Fn, FRcp>::value ? 1.f / p : (float)f(p);
          d[l] = bitsF32(ftz ? flush(r) : r);
        } else if (t.w == 64) d[l] = bitsF64(f(asF64(v)));
        else d[l] = f64ToHalf(f(halfToF32(v)));
        break;
      case K_F16X2: d[l] = (u64)f64ToHalf(f(halfToF32(v))) | (u64)f64ToHalf(f(halfToF32(v >> 16))) << 16; break;
      case K_BF16: d[l] = f32ToBf16(toOddF32(f(bf16ToF32(v)))); break;
      default: d[l] = (u64)f32ToBf16(toOddF32(f(bf16ToF32(v)))) | (u64)f32ToBf16(toOddF32(f(bf16ToF32(v >> 16)))) << 16;
    }
  });
}

// --- moves ----------------------------------------------------------------------------------------------------
template <int W> void movPlain(Exec& x) {
  u64 *d = x.dst(), *a = x.src(1, x.I->type());
  x.each([&](int l) { d[l] = W == 64 ? a[l] : W == 32 ? (u32)a[l] : (u16)a[l]; });
}
void movPred(Exec& x) {
  u64 *d = x.dst(), *a = x.src(1, {K_PRED, 1});
  x.each([&](int l) { d[l] = a[l]; });
}
void movUnpack(Exec& x) {
  const Inst& I = *x.I;
  const auto& v = I.o[0].sub;
  const int ew = I.type().w / (int)v.size();
  u64 s[2][32];
  memcpy(s[0], x.src(1, I.type()), 256);
  if (I.type().w == 128) memcpy(s[1], x.row(I.o[1].reg + 1), 256);
  for (size_t i = 0; i < v.size(); i++) {
    if (v[i].kind == OP_NONE) continue;
    u64* d = x.dst(v[i]);
    int bit = (int)i * ew;
    x.each([&](int l) { d[l] = maskTo(s[bit / 64][l] >> (bit % 64), ew); });
  }
}
void movPack(Exec& x) {
  const Inst& I = *x.I;
  const auto& v = I.o[1].sub;
  const int ew = I.type().w / (int)v.size();
  u64 r[2][32] = {};
  for (size_t i = 0; i < v.size(); i++) {
    const u64* s = x.src(v[i], {I.type().k, ew});
    int bit = (int)i * ew;
    x.each([&](int l) { r[bit / 64][l] |= maskTo(s[l], ew) << (bit % 64); });
  }
  for (int h = 0; h < (I.type().w == 128 ? 2 : 1); h++) {
    u64* d = x.row(I.o[0].reg + h);
    x.each([&](int l) { d[l] = r[h][l]; });
  }
}
void mov128(Exec& x) {
  for (int h = 0; h < 2; h++) {
    u64 *d = x.row(x.I->o[0].reg + h), *a = x.row(x.I->o[1].reg + h);
    x.each([&](int l) { d[l] = a[l]; });
  }
}
void trap(Exec& x) {
  x.fault(x.firstLane(), x.b.F->usesEnvreg ? "trap in a kernel that uses grid-wide cooperative groups (grid.sync is not supported)" : "trap");
}

Handler pickMov(Inst& I) {
  Type t = I.type();
  if (I.o.size() != 2) return nullptr;
  if (I.o[0].kind == OP_VEC) return t.w % I.o[0].sub.size() ? nullptr : movUnpack;
  if (I.o[1].kind == OP_VEC) return t.w % I.o[1].sub.size() ? nullptr : movPack;
  if (t.k == K_PRED) return movPred;
  if (t.w == 128) return I.o[0].kind == OP_REG && I.o[1].kind == OP_REG ? mov128 : nullptr;
  return t.w == 64 ? movPlain<64> : t.w == 32 ? movPlain<32> : movPlain<16>;
}
}  // namespace

Handler selectAlu(Inst& I) {
  const string& op = I.op;
  if (op == "mov") return pickMov(I);
  if (op == "addc" || op == "subc" || op == "madc" || ((op == "add" || op == "sub" || op == "mad") && I.has("cc"))) return carryOp;
  if (op == "add") return pick<Add>(I);
  if (op == "sub") return pick<Sub>(I);
  if (op == "mul" || op == "mad" || op == "fma") {
    VK k = kindOf(I.type());
    bool flt = k <= V_F32X2, mad = op != "mul";
    if (flt) return mad ? pickFma(I) : pick<Mul>(I);
    if (k == V_S16X2 || k == V_U16X2 || k == V_BAD) return nullptr;
    if (I.type().w == 32 && !I.sat) {
      if (I.wide) return I.type().k == K_SINT ? (mad ? mulWide32<true, true> : mulWide32<false, true>) : (mad ? mulWide32<true, false> : mulWide32<false, false>);
      if (!I.hi) return mad ? mulLo32<true> : mulLo32<false>;
    }
    return mulInt;
  }
  if (op == "div") return pick<Div>(I);
  if (op == "rem") return pickInt<Rem>(I);
  if (op == "min") return pickMinMax<false>(I);
  if (op == "max") return pickMinMax<true>(I);
  if (op == "and") return logic<And>;
  if (op == "or") return logic<Or>;
  if (op == "xor") return logic<Xor>;
  if (op == "not") return logicNot;
  if (op == "cnot") return cnot;
  if (op == "shl") return shl;
  if (op == "shr") return shr;
  if (op == "neg" || op == "abs") return negAbs;
  if (op == "setp" || op == "set") return pickSet(I);
  if (op == "selp") return selp;
  if (op == "slct") return slct;
  if (op == "popc") return popc;
  if (op == "clz") return clz;
  if (op == "brev") return brev;
  if (op == "bfind") return bfind;
  if (op == "bfe") return bfe;
  if (op == "bfi") return bfi;
  if (op == "prmt") {
    static const std::map<string, int> modes = {{"f4e", P_F4E}, {"b4e", P_B4E}, {"rc8", P_RC8}, {"ecl", P_ECL}, {"ecr", P_ECR}, {"rc16", P_RC16}};
    I.sub = P_INDEX;
    for (auto& s : I.mods) { auto f = modes.find(s); if (f != modes.end()) I.sub = f->second; }
    return prmt;
  }
  if (op == "lop3") return I.o.size() == 5 && !I.has("BoolOp") ? lop3 : nullptr;
  if (op == "shf") return shf;
  if (op == "bmsk") return bmsk;
  if (op == "szext") return szext;
  if (op == "dp4a") return dp4a;
  if (op == "dp2a") return dp2a;
  if (op == "sad") return sad;
  if (op == "mul24" || op == "mad24") return mul24;
  if (op == "vabsdiff4" || op == "vabsdiff2") return I.types.size() == 3 && I.o.size() == 4 && !I.sat && I.mods.size() <= 4 ? vabsdiff : nullptr;
  if (op == "testp") return testp;
  if (op == "copysign") return copysignOp;
  if (op == "sqrt") return elementary<FSqrt>;
  if (op == "rsqrt") return elementary<FRsqrt>;
  if (op == "rcp") return elementary<FRcp>;
  if (op == "ex2") return elementary<FEx2>;
  if (op == "lg2") return elementary<FLg2>;
  if (op == "sin") return elementary<FSin>;
  if (op == "cos") return elementary<FCos>;
  if (op == "tanh") return elementary<FTanh>;
  if (op == "trap" || op == "brkpt") return trap;
  return nullptr;
}
}  // namespace cuda_emulator
