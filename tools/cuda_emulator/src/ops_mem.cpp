// Loads, stores, atomics, asynchronous copies, address conversion and the device runtime calls.
#include "exec.h"
#include <algorithm>

namespace cuda_emulator {
namespace {
// Effective lane addresses of a memory operand.
u64* addresses(Exec& x, const Operand& o, bool shared) {
  const u64* s = x.src(o.sub[0]);
  u64* d = x.scratch();
  const u64 off = (u64)o.off;
  if (shared) x.each([&](int l) { d[l] = (u32)s[l] + off; });
  else x.each([&](int l) { d[l] = s[l] + off; });
  return d;
}
u64* addresses(Exec& x, const Operand& o) { return addresses(x, o, x.I->space == SP_SHARED); }

// The register rows a load or store of n bytes per element touches; a .b128 register counts as two 8-byte rows.
int elementRows(const Inst& I, const Operand& o, int (&rows)[16], Type t) {
  int k = 0;
  auto add = [&](const Operand& e) {
    if (t.w == 128) { rows[k++] = e.kind == OP_REG ? e.reg : -1; rows[k++] = e.kind == OP_REG ? e.reg + 1 : -1; }
    else rows[k++] = e.kind == OP_REG ? e.reg : -1;
  };
  if (o.kind == OP_VEC) for (auto& e : o.sub) add(e); else add(o);
  (void)I;
  return k;
}
template <int N, bool SIGNED> void loadScalar(Exec& x) {
  const u64* a = addresses(x, x.I->o[1]);
  x.countAccess(a, N, false);
  u64* d = x.dst();
  const int rw = SIGNED && x.I->o[0].kind == OP_REG ? x.b.F->regWidth[x.I->o[0].reg] : 64;
  x.each([&](int l) {
    x.check(a[l], N, l);
    x.race(a[l], N, l, false);
    u64 v = readMem(a[l], N);
    if (SIGNED) v = maskTo((u64)((s64)(v << (64 - 8 * N)) >> (64 - 8 * N)), rw);
    d[l] = v;
  });
}
void loadVector(Exec& x) {
  const Inst& I = *x.I;
  const Type t = I.types.back();
  int rows[16], k = elementRows(I, I.o[0], rows, t), n = t.w == 128 ? 8 : t.bytes(), total = n * k;
  const u64* a = addresses(x, I.o[1]);
  x.countAccess(a, total, false);
  const bool sign = t.k == K_SINT && t.w < 32;
  x.each([&](int l) {
    u64 ea = a[l];
    if (ea % total) x.faultAddr(l, "misaligned", ea);
    for (int i = 0; i < k; i++) { x.check(ea + i * n, n, l); x.race(ea + i * n, n, l, false); }
    for (int i = 0; i < k; i++) {
      u64 v = readMem(ea + i * n, n);
      if (rows[i] >= 0) x.row(rows[i])[l] = sign ? (u32)extend(v, t) : v;
    }
  });
}
template <int N> void storeScalar(Exec& x) {
  const u64* a = addresses(x, x.I->o[0]);
  const u64* s = x.src(1, x.I->types.back());
  x.countAccess(a, N, true);
  x.each([&](int l) {
    x.check(a[l], N, l);
    x.race(a[l], N, l, true);
    memcpy((void*)a[l], &s[l], N);
  });
}
void storeVector(Exec& x) {
  const Inst& I = *x.I;
  const Type t = I.types.back();
  const Operand& v = I.o[1];
  int n = t.w == 128 ? 8 : t.bytes(), k = 0;
  const u64* a = addresses(x, I.o[0]);
  u64 keep[8][32];
  if (t.w == 128) {
    int rows[16];
    k = elementRows(I, v, rows, t);
    for (int i = 0; i < k && i < 8; i++) memcpy(keep[i], x.row(rows[i]), 256);
  } else for (auto& e : v.sub) memcpy(keep[k++], x.src(e, t), 256);
  int total = n * k;
  x.countAccess(a, total, true);
  x.each([&](int l) {
    if (a[l] % total) x.faultAddr(l, "misaligned", a[l]);
    for (int i = 0; i < k; i++) {
      x.check(a[l] + i * n, n, l);
      x.race(a[l] + i * n, n, l, true);
      memcpy((void*)(a[l] + i * n), &keep[i][l], n);
    }
  });
}

void atomic(Exec& x) {
  const Inst& I = *x.I;
  const bool red = I.op == "red";
  const Type t = I.types.back();
  const int n = t.bytes(), k = red ? 0 : 1, op = I.sub;
  const u64* a = addresses(x, I.o[k]);
  u64 p[32], q[32];
  memcpy(p, x.src(k + 1, t), 256);
  if (op == A_CAS) memcpy(q, x.src(k + 2, t), 256);
  x.countAtomic(a);
  u64* d = red ? x.scratch() : x.dst();
  u64 ad[32];
  memcpy(ad, a, 256);
  x.each([&](int l) {
    x.check(ad[l], n, l);
    u64 o = readMem(ad[l], n), r = applyAtom(op, t, o, p[l], q[l]);
    memcpy((void*)ad[l], &r, n);
    d[l] = o;
  });
}
void atomicVector(Exec& x) {                        // red/atom.global.add.v2.f32 and friends
  const Inst& I = *x.I;
  const bool red = I.op == "red";
  const Type t = I.types.back();
  const int n = t.bytes(), k = red ? 0 : 1, op = I.sub, cnt = (int)I.o[k + 1].sub.size();
  const u64* a = addresses(x, I.o[k]);
  x.countAtomic(a);
  u64 ad[32], v[8][32];
  memcpy(ad, a, 256);
  for (int i = 0; i < cnt; i++) memcpy(v[i], x.src(I.o[k + 1].sub[i], t), 256);
  x.each([&](int l) {
    if (ad[l] % (n * cnt)) x.faultAddr(l, "misaligned", ad[l]);
    for (int i = 0; i < cnt; i++) {
      x.check(ad[l] + i * n, n, l);
      u64 o = readMem(ad[l] + i * n, n), r = applyAtom(op, t, o, v[i][l], 0);
      memcpy((void*)(ad[l] + i * n), &r, n);
      if (!red) x.dst(I.o[0].sub[i])[l] = o;
    }
  });
}

// cp.async: performed at once, so a missing wait goes unseen. Bytes beyond src-size are zero-filled.
void cpAsync(Exec& x) {
  const Inst& I = *x.I;
  u64 da[32], sa[32];
  memcpy(da, addresses(x, I.o[0], true), 256);
  memcpy(sa, addresses(x, I.o[1], false), 256);
  const int n = (int)I.o[2].imm;
  if (n != 4 && n != 8 && n != 16) x.fault(x.firstLane(), "cp.async size");
  const u64* ss = nullptr;
  bool ignorePred = false;
  if (I.o.size() > 3) {                             // src-size, or an ignore-src predicate
    const Operand& o = I.o[3];
    ignorePred = o.kind == OP_REG && x.b.F->regWidth[o.reg] == 1;
    ss = x.src(o, ignorePred ? Type{K_PRED, 1} : Type{K_BITS, 32});
  }
  u32 all = x.m, reading = 0;
  x.countAccess(da, n, true);
  x.each([&](int l) { if (!ss || (ignorePred ? !ss[l] : (u32)ss[l] > 0)) reading |= 1u << l; });
  if (reading && x.b.stats) { x.m = reading; x.countAccess(sa, n, false); x.m = all; }
  x.each([&](int l) {
    int k = !ss ? n : ignorePred ? (ss[l] ? 0 : n) : std::min<int>(n, (int)(u32)ss[l]);
    if (da[l] % n) x.faultAddr(l, "misaligned", da[l]);
    if (k && sa[l] % n) x.faultAddr(l, "misaligned", sa[l]);
    u8 buf[16] = {};
    for (int i = 0; i < k; i++) if (i % 4 == 0 && k - i >= 4) x.check(sa[l] + i, 4, l); else if (k - i % 4 < 4) x.check(sa[l] + i, 1, l);
    if (k) memcpy(buf, (const void*)sa[l], k);
    for (int i = 0; i < n; i += 4) { x.check(da[l] + i, 4, l); x.race(da[l] + i, 4, l, true); }
    memcpy((void*)da[l], buf, n);
  });
}
void nothing(Exec&) {}

void cvta(Exec& x) {
  u64* d = x.dst();
  const u64* a = x.src(1);
  x.each([&](int l) { d[l] = a[l]; });              // generic addresses equal the windowed ones
}
void isspacep(Exec& x) {
  const Inst& I = *x.I;
  u64* d = x.dst();
  const u64* a = x.src(1);
  const u64 p = mem::paramBase();
  x.each([&](int l) {
    bool sh = x.isShared(a[l]), lo = x.isLocal(a[l]), pa = a[l] >= p && a[l] < p + mem::kParamMax;
    d[l] = I.space == SP_SHARED ? sh : I.space == SP_LOCAL ? lo : I.space == SP_GLOBAL ? !sh && !lo && !pa : I.space == SP_PARAM ? pa : false;
  });
}
void mapa(Exec& x) {                                // cluster of one block: every rank maps to itself
  u64* d = x.dst();
  const u64* a = x.src(1);
  x.each([&](int l) { d[l] = a[l]; });
}

// The only calls left after inlining: device printf and assert.
void callRuntime(Exec& x) {
  const Inst& I = *x.I;
  // operands appended by link(): arguments, then results
  auto slot = [&](size_t i, int l) { return x.src(I.o[i])[l]; };
  x.each([&](int l) {
    if (I.callee == "__assertfail") x.fault(l, string("device assert: ") + (const char*)readMem(slot(0, l), 8));
    const char* f = (const char*)readMem(slot(0, l), 8);
    const u8* a = (const u8*)readMem(slot(1, l), 8);
    string out;
    size_t o = 0;
    for (; *f; f++) {
      if (*f != '%') { out += *f; continue; }
      string spec = "%";
      f++;
      while (*f && !strchr("diuxXofFeEgGcspaA%", *f)) { if (*f == '*') { o = (o + 3) / 4 * 4; spec += std::to_string((s32)readMem((u64)a + o, 4)); o += 4; } else spec += *f; f++; }
      if (!*f) break;
      if (*f == '%') { out += '%'; continue; }
      bool flt = strchr("fFeEgGaA", *f), wide = spec.find('l') != string::npos || spec.find('z') != string::npos || flt || strchr("sp", *f);
      int n = wide ? 8 : 4;
      o = (o + n - 1) / n * n;
      u64 v = readMem((u64)a + o, n);
      o += n;
      string q;
      for (char c : spec) if (!strchr("lzh", c)) q += c;
      char buf[512];
      if (flt) snprintf(buf, sizeof buf, (q + *f).c_str(), asF64(v));
      else if (*f == 's') snprintf(buf, sizeof buf, (q + "s").c_str(), (const char*)v);
      else if (*f == 'p') snprintf(buf, sizeof buf, "%p", (void*)v);
      else if (*f == 'c') snprintf(buf, sizeof buf, (q + "c").c_str(), (int)v);
      else snprintf(buf, sizeof buf, (q + "ll" + *f).c_str(), strchr("di", *f) && !wide ? (long long)(s32)v : (long long)v);
      out += buf;
    }
    fputs(out.c_str(), stdout);
    if (I.callRet.size()) { u32 r = 1; memcpy((void*)slot(I.callArgs.size(), l), &r, 4); }
  });
  fflush(stdout);
}

Handler pickLoad(const Inst& I) {
  Type t = I.lastType();
  if (I.o.size() < 2 || I.o[1].kind != OP_MEM) return nullptr;
  if (I.o[0].kind == OP_VEC || t.w == 128) return loadVector;
  bool s = t.k == K_SINT && t.w < 64;
  switch (t.bytes()) {
    case 1: return s ? loadScalar<1, true> : loadScalar<1, false>;
    case 2: return s ? loadScalar<2, true> : loadScalar<2, false>;
    case 4: return s ? loadScalar<4, true> : loadScalar<4, false>;
    case 8: return loadScalar<8, false>;
  }
  return nullptr;
}
Handler pickStore(const Inst& I) {
  Type t = I.lastType();
  if (I.o.size() < 2 || I.o[0].kind != OP_MEM) return nullptr;
  if (I.o[1].kind == OP_VEC || t.w == 128) return storeVector;
  switch (t.bytes()) {
    case 1: return storeScalar<1>;
    case 2: return storeScalar<2>;
    case 4: return storeScalar<4>;
    case 8: return storeScalar<8>;
  }
  return nullptr;
}
}  // namespace

u64 applyAtom(int op, Type t, u64 o, u64 x, u64 y) {
  switch (op) {
    case A_EXCH: return x;
    case A_CAS: return maskTo(o, t.w) == maskTo(x, t.w) ? y : o;
    case A_INC: return (u32)o >= (u32)x ? 0 : o + 1;
    case A_DEC: return (u32)o == 0 || (u32)o > (u32)x ? x : o - 1;
    case A_AND: return o & x;
    case A_OR: return o | x;
    case A_XOR: return o ^ x;
    case A_ADD:
      switch (t.k) {
        case K_FLOAT: return t.w == 32 ? bitsF32(asF32(o) + asF32(x)) : t.w == 64 ? bitsF64(asF64(o) + asF64(x)) : f32ToHalf(halfToF32(o) + halfToF32(x));
        case K_F16X2: return (u64)f32ToHalf(halfToF32(o) + halfToF32(x)) | (u64)f32ToHalf(halfToF32(o >> 16) + halfToF32(x >> 16)) << 16;
        case K_BF16: return f32ToBf16(bf16ToF32(o) + bf16ToF32(x));
        case K_BF16X2: return (u64)f32ToBf16(bf16ToF32(o) + bf16ToF32(x)) | (u64)f32ToBf16(bf16ToF32(o >> 16) + bf16ToF32(x >> 16)) << 16;
        default: return o + x;
      }
    default: {
      bool mx = op == A_MAX;
      switch (t.k) {
        case K_SINT: { s64 p = (s64)extend(o, t), q = (s64)extend(x, t); return (q > p) == mx && q != p ? x : o; }
        case K_FLOAT:
          if (t.w == 32) return bitsF32(minmaxF(asF32(o), asF32(x), mx, false));
          if (t.w == 16) return f32ToHalf(minmaxF(halfToF32(o), halfToF32(x), mx, false));
          return (asF64(x) > asF64(o)) == mx ? x : o;
        case K_BF16: return f32ToBf16(minmaxF(bf16ToF32(o), bf16ToF32(x), mx, false));
        case K_F16X2: return (u64)f32ToHalf(minmaxF(halfToF32(o), halfToF32(x), mx, false)) | (u64)f32ToHalf(minmaxF(halfToF32(o >> 16), halfToF32(x >> 16), mx, false)) << 16;
        case K_BF16X2: return (u64)f32ToBf16(minmaxF(bf16ToF32(o), bf16ToF32(x), mx, false)) | (u64)f32ToBf16(minmaxF(bf16ToF32(o >> 16), bf16ToF32(x >> 16), mx, false)) << 16;
        default: { u64 p = maskTo(o, t.w), q = maskTo(x, t.w); return (q > p) == mx && q != p ? x : o; }
      }
    }
  }
}

Handler selectMem(Inst& I) {
  const string& op = I.op;
  if (op == "ld" || op == "ldu") return pickLoad(I);
  if (op == "st") return I.has("async") || I.has("bulk") ? nullptr : pickStore(I);
  if (op == "atom" || op == "red") {
    I.sub = atomOpOf(I);
    if (I.sub < 0 || I.has("async") || I.lastType().w == 128) return nullptr;
    size_t k = op == "red" ? 0 : 1;
    return I.o.size() > k + 1 && I.o[k + 1].kind == OP_VEC ? atomicVector : atomic;
  }
  if (op == "cp") {
    if (I.mods.empty() || I.mods[0] != "async" || I.has("bulk") || I.has("mbarrier")) { I.why = "bulk copy / TMA / mbarrier"; return nullptr; }
    if (I.mods.size() > 1 && (I.mods[1] == "commit_group" || I.mods[1] == "wait_group" || I.mods[1] == "wait_all")) return nothing;
    return I.o.size() >= 3 && I.o[2].kind == OP_IMM ? cpAsync : nullptr;
  }
  if (op == "cvta") return cvta;
  if (op == "isspacep") return isspacep;
  if (op == "mapa") return mapa;
  if (op == "call") return callRuntime;
  return nullptr;
}
}  // namespace cuda_emulator
