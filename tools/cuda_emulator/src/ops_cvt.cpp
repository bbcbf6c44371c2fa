// Type conversion instructions (cvt, cvt.pack).
#include "exec.h"
#include <algorithm>

namespace cuda_emulator {
namespace {
bool isFloat(Type t) { return t.k == K_FLOAT || t.k == K_BF16 || t.k == K_TF32; }
long double loadFloat(u64 v, Type t) {
  if (t.k == K_BF16) return bf16ToF32(v);
  return t.w == 32 ? (long double)asF32(v) : t.w == 64 ? (long double)asF64(v) : (long double)halfToF32(v);
}
u64 storeFloat(long double x, Type t, Round r) {
  if (t.k == K_BF16) return packFloat(x, 8, 7, r);
  if (t.k == K_TF32) return packFloat(x, 8, 10, r) << 13;
  if (t.w == 64) return packFloat(x, 11, 52, r);
  if (t.w == 32) return packFloat(x, 8, 23, r);
  return packFloat(x, 5, 10, r);
}
long double adjust(long double x, bool sat, bool relu) {
  if (sat) x = x != x ? 0 : std::min(1.0L, std::max(0.0L, x));
  if (relu) x = x != x ? x : x > 0 ? x : 0;
  return x;
}
s64 clampSigned(s64 v, int w) { s64 hi = (s64)((1ull << (w - 1)) - 1), lo = -hi - 1; return std::min(hi, std::max(lo, v)); }

// width of the destination register, for sign extension of narrow results
int regWidth(Exec& x) { const Operand& o = x.I->o[0]; return o.kind == OP_REG ? x.b.F->regWidth[o.reg] : 32; }

void intToInt(Exec& x) {
  const Type dt = x.I->types[0], st = x.I->types.back();
  const bool sat = x.I->sat;
  const int rw = std::max(regWidth(x), dt.w);
  u64* d = x.dst();
  const u64* a = x.src(1, st);
  x.each([&](int l) {
    u64 r = extend(a[l], st);
    if (sat) {
      if (dt.k == K_SINT) {
        if (st.k == K_SINT) r = (u64)clampSigned((s64)r, dt.w);
        else r = std::min<u64>(r, (1ull << (dt.w - 1)) - 1);
      } else { if (st.k == K_SINT && (s64)r < 0) r = 0; r = std::min<u64>(r, maskTo(~0ull, dt.w)); }
    }
    d[l] = maskTo(extend(maskTo(r, dt.w), dt), dt.k == K_SINT ? rw : dt.w);
  });
}
void floatToInt(Exec& x) {
  const Type dt = x.I->types[0], st = x.I->types.back();
  const Round rnd = x.I->rnd;
  const int rw = std::max(regWidth(x), dt.w);
  u64* d = x.dst();
  const u64* a = x.src(1, st);
  x.each([&](int l) {
    double v = (double)loadFloat(a[l], st);               // exact: f64 at most
    if (v != v) { d[l] = dt.w == 64 ? 0x8000000000000000ull : 0; return; }
    double r = rnd == R_RZ ? trunc(v) : rnd == R_RM ? floor(v) : rnd == R_RP ? ceil(v) : rint(v);
    if (dt.k == K_SINT) {
      double hi = ldexp(1, dt.w - 1);
      s64 q = r <= -hi ? (s64)(0 - (1ull << (dt.w - 1))) : r >= hi ? (s64)((1ull << (dt.w - 1)) - 1) : (s64)r;
      d[l] = maskTo((u64)q, rw);
    } else d[l] = r <= 0 ? 0 : r >= ldexp(1, dt.w) ? maskTo(~0ull, dt.w) : (u64)r;
  });
}
void intToFloat(Exec& x) {
  const Type dt = x.I->types[0], st = x.I->types.back();
  const Round rnd = x.I->rnd;
  u64* d = x.dst();
  const u64* a = x.src(1, st);
  if (dt.is(K_FLOAT, 32) && rnd <= R_RN) { x.each([&](int l) { u64 r = extend(a[l], st); d[l] = bitsF32(st.k == K_SINT ? (float)(s64)r : (float)r); }); return; }
  if (dt.is(K_FLOAT, 64) && rnd <= R_RN) { x.each([&](int l) { u64 r = extend(a[l], st); d[l] = bitsF64(st.k == K_SINT ? (double)(s64)r : (double)r); }); return; }
  x.each([&](int l) { u64 r = extend(a[l], st); d[l] = storeFloat(st.k == K_SINT ? (long double)(s64)r : (long double)r, dt, rnd); });
}
void floatToFloat(Exec& x) {
  const Inst& I = *x.I;
  const Type dt = I.types[0], st = I.types.back();
  const bool sat = I.has("sat"), relu = I.relu, ftz = I.has("ftz") && st.w == 32;
  bool toInt = I.has("rni") || I.has("rzi") || I.has("rmi") || I.has("rpi");
  u64* d = x.dst();
  const u64* a = x.src(1, st);
  if (!sat && !relu && !toInt && !ftz && I.rnd <= R_RN) {     // the common conversions
    if (dt.is(K_FLOAT, 16) && st.is(K_FLOAT, 32)) { x.each([&](int l) { d[l] = f32ToHalf(asF32(a[l])); }); return; }
    if (dt.is(K_FLOAT, 32) && st.is(K_FLOAT, 16)) { x.each([&](int l) { d[l] = bitsF32(halfToF32(a[l])); }); return; }
    if (dt.is(K_FLOAT, 32) && st.k == K_BF16) { x.each([&](int l) { d[l] = bitsF32(bf16ToF32(a[l])); }); return; }
    if (dt.k == K_BF16 && st.is(K_FLOAT, 32)) { x.each([&](int l) { d[l] = f32ToBf16(asF32(a[l])); }); return; }
    if (dt.is(K_FLOAT, 64) && st.is(K_FLOAT, 32)) { x.each([&](int l) { d[l] = bitsF64(asF32(a[l])); }); return; }
    if (dt.is(K_FLOAT, 32) && st.is(K_FLOAT, 64)) { x.each([&](int l) { d[l] = bitsF32((float)asF64(a[l])); }); return; }
  }
  x.each([&](int l) {
    long double v = loadFloat(a[l], st);
    if (ftz && fabsl(v) < 1.17549435e-38L) v = copysignl(0, v);
    if (toInt) v = roundToInt(v, I.rnd);
    d[l] = storeFloat(adjust(v, sat, relu), dt, toInt ? R_RN : I.rnd);
  });
}
void pairToPacked(Exec& x) {                                  // d = {hi: a, lo: b} from two f32
  const Inst& I = *x.I;
  const Type dt = I.types[0], st = I.types.back();
  const bool relu = I.relu, satf = I.has("satfinite");
  const Round rnd = I.rnd;
  u64* d = x.dst();
  const u64 *a = x.src(1, st), *c = x.src(2, st);
  auto one = [&](u64 q) -> u64 {
    float v = asF32(q);
    if (relu) v = v != v ? v : v > 0 ? v : 0;
    switch (dt.k) {
      case K_F16X2: { u64 h = rnd <= R_RN ? f32ToHalf(v) : packFloat(v, 5, 10, rnd); if (satf && (h & 0x7fff) == 0x7c00) h--; return h; }
      case K_BF16X2: { u64 h = rnd <= R_RN ? f32ToBf16(v) : packFloat(v, 8, 7, rnd); if (satf && (h & 0x7fff) == 0x7f80) h--; return h; }
      case K_E4M3X2: return f64ToE4M3(v);
      default: return f64ToE5M2(v);
    }
  };
  const int sh = dt.w / 2;
  x.each([&](int l) { d[l] = one(a[l]) << sh | one(c[l]); });
}
void packedToFp8(Exec& x) {                                   // f16x2 -> e4m3x2 / e5m2x2
  const Inst& I = *x.I;
  const Type dt = I.types[0];
  u64* d = x.dst();
  const u64* a = x.src(1);
  auto one = [&](u16 h) -> u64 {
    float v = halfToF32(h);
    if (I.relu) v = v != v ? v : v > 0 ? v : 0;
    return dt.k == K_E4M3X2 ? f64ToE4M3(v) : f64ToE5M2(v);
  };
  x.each([&](int l) { d[l] = one(a[l]) | one(a[l] >> 16) << 8; });
}
void fp8ToPacked(Exec& x) {
  const Inst& I = *x.I;
  const Type st = I.types.back();
  u64* d = x.dst();
  const u64* a = x.src(1);
  auto one = [&](u8 v) -> u64 {
    float f = st.k == K_E4M3X2 ? e4m3ToF32(v) : e5m2ToF32(v);
    if (I.relu) f = f != f ? f : f > 0 ? f : 0;
    return f32ToHalf(f);
  };
  x.each([&](int l) { d[l] = one(a[l]) | one(a[l] >> 8) << 16; });
}
// cvt.pack.sat.u8.s32.b32 d, a, b, c: saturate a and b, put b in the low element, c shifted up behind them
void cvtPack(Exec& x) {
  const Inst& I = *x.I;
  const Type dt = I.types[0], st = I.types[1];
  u64* d = x.dst();
  const u64 *a = x.src(1), *c = x.src(2), *e = I.o.size() > 3 ? x.src(3) : nullptr;
  auto sat = [&](u64 v) -> u64 {
    s64 q = (s64)extend(v, st);
    if (dt.k == K_SINT) q = clampSigned(q, dt.w);
    else q = std::min<s64>(std::max<s64>(q, 0), (s64)maskTo(~0ull, dt.w));
    return maskTo((u64)q, dt.w);
  };
  x.each([&](int l) { d[l] = maskTo((e ? e[l] << (2 * dt.w) : 0) | sat(a[l]) << dt.w | sat(c[l]), 32); });
}
}  // namespace

Handler selectCvt(Inst& I) {
  if (I.op != "cvt" || I.types.size() < 2) return nullptr;
  if (I.has("rs")) { I.why = "stochastic rounding"; return nullptr; }
  Type dt = I.types[0], st = I.types.back();
  if (I.has("pack")) return dt.w >= 8 && dt.w <= 16 ? cvtPack : nullptr;
  for (auto& m : I.mods) if (m.rfind("e2m", 0) == 0 || m.rfind("e3m", 0) == 0 || m.rfind("ue8", 0) == 0) { I.why = "fp4/fp6/ue8m0 format"; return nullptr; }
  bool packedDst = dt.k == K_F16X2 || dt.k == K_BF16X2 || dt.k == K_E4M3X2 || dt.k == K_E5M2X2;
  if (I.o.size() == 3) return packedDst && st.is(K_FLOAT, 32) ? pairToPacked : nullptr;
  if (I.o.size() != 2) return nullptr;
  if ((dt.k == K_E4M3X2 || dt.k == K_E5M2X2) && st.k == K_F16X2) return packedToFp8;
  if ((st.k == K_E4M3X2 || st.k == K_E5M2X2) && dt.k == K_F16X2) return fp8ToPacked;
  if (packedDst) return nullptr;
  auto isInt = [](Type t) { return t.k == K_UINT || t.k == K_SINT || t.k == K_BITS; };
  if (isInt(dt) && isInt(st)) return intToInt;
  if (isInt(dt) && isFloat(st)) return floatToInt;
  if (isFloat(dt) && isInt(st)) return intToFloat;
  if (isFloat(dt) && isFloat(st)) return floatToFloat;
  return nullptr;
}
}  // namespace cuda_emulator
