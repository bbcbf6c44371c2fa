// Warp-level operations. The scheduler calls these once all lanes of the member mask have arrived.
#include "exec.h"

namespace cuda_emulator {
namespace {
enum { SH_UP, SH_DOWN, SH_BFLY, SH_IDX };
void shfl(Exec& x) {
  const Inst& I = *x.I;
  const int mode = I.sub;
  u64 v[32], bb[32], cc[32];
  memcpy(v, x.src(1), 256);
  memcpy(bb, x.src(2), 256);
  memcpy(cc, x.src(3), 256);
  u64 *d = x.dst(), *p = I.o[0].sub.size() ? x.dst(I.o[0].sub[0]) : nullptr;
  x.each([&](int l) {
    int b = bb[l] & 31, c = cc[l] & 31, seg = cc[l] >> 8 & 31;
    int maxLane = (l & seg) | (c & ~seg), minLane = l & seg, j;
    bool ok;
    switch (mode) {
      case SH_UP: j = l - b; ok = j >= maxLane; break;
      case SH_DOWN: j = l + b; ok = j <= maxLane; break;
      case SH_BFLY: j = l ^ b; ok = j <= maxLane; break;
      default: j = minLane | (b & ~seg); ok = j <= maxLane;
    }
    if (!ok) j = l;
    d[l] = x.m >> j & 1 ? (u32)v[j] : 0;        // undefined on hardware when the source lane does not take part
    if (p) p[l] = ok;
  });
}
void vote(Exec& x) {
  const Inst& I = *x.I;
  const u64* v = x.src(1, {K_PRED, 1});
  u32 b = 0;
  x.each([&](int l) { if (v[l]) b |= 1u << l; });
  u64* d = x.dst();
  u64 r = I.has("all") ? b == x.m : I.has("any") ? b != 0 : I.has("uni") ? b == x.m || b == 0 : b;
  x.each([&](int l) { d[l] = r; });
}
void match(Exec& x) {
  const Inst& I = *x.I;
  const Type t = I.types.back();
  u64 v[32], r[32];
  memcpy(v, x.src(1), 256);
  u64 *d = x.dst(), *p = I.o[0].sub.size() ? x.dst(I.o[0].sub[0]) : nullptr;
  const bool all = I.has("all");
  bool same = true;
  x.each([&](int l) {
    u32 q = 0;
    for (int j = 0; j < 32; j++) if ((x.m >> j & 1) && maskTo(v[j], t.w) == maskTo(v[l], t.w)) q |= 1u << j;
    r[l] = q;
    same &= q == x.m;
  });
  x.each([&](int l) { d[l] = all ? (same ? x.m : 0) : r[l]; if (p) p[l] = same; });
}
void redux(Exec& x) {
  const Inst& I = *x.I;
  const Type t = I.types.back();
  const bool abs = I.has("abs");
  u64 v[32], a = 0;
  memcpy(v, x.src(1), 256);
  bool first = true;
  x.each([&](int l) {
    u64 e = v[l];
    if (t.is(K_FLOAT, 32)) {
      if (abs) e &= 0x7fffffff;
      if (!first) { float r = minmaxF(asF32(a), asF32(e), I.sub == A_MAX, I.nan); a = r != r ? 0x7fffffff : bitsF32(r); }
      else a = e;
    } else a = first ? e : applyAtom(I.sub, t, a, e, 0);
    first = false;
  });
  u64* d = x.dst();
  x.each([&](int l) { d[l] = maskTo(a, t.w); });
}
void elect(Exec& x) {                             // lowest member lane is the leader
  const Inst& I = *x.I;
  int lead = x.firstLane();
  u64 *d = x.dst(), *p = I.o[0].sub.size() ? x.dst(I.o[0].sub[0]) : nullptr;
  x.each([&](int l) { d[l] = lead; if (p) p[l] = l == lead; });
}
void activemask(Exec& x) {
  u64* d = x.dst();
  x.each([&](int l) { d[l] = x.m; });
}
}  // namespace

Handler selectWarp(Inst& I) {
  const string& op = I.op;
  if (op == "activemask") return activemask;
  if (op == "shfl") {
    if (!I.has("sync")) { I.why = "shfl without .sync"; return nullptr; }
    I.sub = I.has("up") ? SH_UP : I.has("down") ? SH_DOWN : I.has("bfly") ? SH_BFLY : SH_IDX;
    return shfl;
  }
  if (op == "vote") return I.has("sync") ? vote : nullptr;
  if (op == "match") return match;
  if (op == "redux") { I.sub = atomOpOf(I); return I.sub < 0 ? nullptr : redux; }
  if (op == "elect") return elect;
  return nullptr;
}
}  // namespace cuda_emulator
