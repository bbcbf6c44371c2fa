// Matrix instructions: mma.sync, ldmatrix, stmatrix, movmatrix and wmma. Products are accumulated in double, so the
// last bits can differ from the hardware. mma and ldmatrix use the documented fragment layouts; the opaque wmma
// layout is our own: element e of a tile lives in lane e / perLane, slot e % perLane.
#include "exec.h"
#include <algorithm>

namespace cuda_emulator {
namespace {
struct Shape { int M = 0, N = 0, K = 0; };
bool shapeOf(const Inst& I, Shape& s) {
  for (auto& m : I.mods) if (m[0] == 'm' && isdigit((u8)m[1]) && sscanf(m.c_str(), "m%dn%dk%d", &s.M, &s.N, &s.K) == 3) return true;
  return false;
}
double element(Type t, u32 reg, int j) {
  switch (t.k) {
    case K_FLOAT: return t.w == 16 ? halfToF32(reg >> (16 * j)) : asF32(reg);
    case K_BF16: return bf16ToF32(reg >> (16 * j));
    case K_TF32: return asF32(reg & ~0x1fffu);
    case K_E4M3: return e4m3ToF32(reg >> (8 * j));
    case K_E5M2: return e5m2ToF32(reg >> (8 * j));
    case K_SINT: return (s8)(reg >> (8 * j));
    default: return (u8)(reg >> (8 * j));
  }
}
double accum(Type t, const vector<const u64*>& r, int i, int l) {
  return t.k == K_SINT ? (double)(s32)r[i][l] : t.w == 16 ? halfToF32((u32)r[i >> 1][l] >> (16 * (i & 1))) : asF32(r[i][l]);
}
void putAccum(Exec& x, const Operand& D, int i, int l, double v, Type t) {
  if (t.k == K_SINT) x.dst(D.sub[i])[l] = (u32)(s32)(s64)v;
  else if (t.w == 16) {
    u64* d = x.dst(D.sub[i >> 1]);
    u32 o = (u32)d[l], h = f64ToHalf(v);
    d[l] = i & 1 ? (o & 0xffff) | h << 16 : (o & 0xffff0000u) | h;
  } else x.dst(D.sub[i])[l] = bitsF32((float)v);
}
vector<const u64*> rowsOf(Exec& x, const Operand& o) {
  vector<const u64*> r;
  if (o.kind == OP_VEC) for (auto& e : o.sub) r.push_back(x.src(e)); else r.push_back(x.src(o));
  return r;
}
void matmul(const Inst& I, Shape s, const double* A, const double* B, double* C, Type dt) {
  for (int i = 0; i < s.M; i++) {
    double acc[64];
    for (int j = 0; j < s.N; j++) acc[j] = C[i * s.N + j];
    for (int k = 0; k < s.K; k++) { double a = A[i * s.K + k]; for (int j = 0; j < s.N; j++) acc[j] += a * B[k * s.N + j]; }
    for (int j = 0; j < s.N; j++) {
      double v = acc[j];
      if (dt.k == K_SINT) { if (I.has("satfinite")) v = std::min(2147483647.0, std::max(-2147483648.0, v)); else v = (double)(s32)(u32)(s64)v; }
      C[i * s.N + j] = v;
    }
  }
}
void countMma(Exec& x, Shape s) {
  if (x.b.stats) { x.b.stats->mma++; x.b.stats->mmaFlops += 2ull * s.M * s.N * s.K; }
}

void mma(Exec& x) {
  const Inst& I = *x.I;
  Shape s;
  shapeOf(I, s);
  const Type dt = I.types[0], at = I.types[1], bt = I.types[2], ct = I.types[3];
  const int per = 32 / at.w;
  double A[16 * 64], B[64 * 8], C[16 * 8];
  auto ra = rowsOf(x, I.o[1]), rb = rowsOf(x, I.o[2]), rc = rowsOf(x, I.o[3]);
  const int ne = s.M * s.N / 32;
  for (int l = 0; l < 32; l++) {
    int g = l >> 2, t = l & 3;
    for (int r = 0; r < (int)ra.size(); r++)
      for (int j = 0; j < per; j++) {
        int row = s.M == 16 ? g + 8 * (r & 1) : g, k = t * per + j + 4 * per * (s.M == 16 ? r >> 1 : r);
        A[row * s.K + k] = element(at, (u32)ra[r][l], j);
      }
    for (int r = 0; r < (int)rb.size(); r++)
      for (int j = 0; j < per; j++) B[(t * per + j + 4 * per * r) * s.N + g] = element(bt, (u32)rb[r][l], j);
    for (int i = 0; i < ne; i++) C[(g + 8 * (i >> 1)) * s.N + t * 2 + (i & 1)] = accum(ct, rc, i, l);
  }
  matmul(I, s, A, B, C, dt);
  countMma(x, s);
  for (int l = 0; l < 32; l++)
    for (int i = 0; i < ne; i++) putAccum(x, I.o[0], i, l, C[((l >> 2) + 8 * (i >> 1)) * s.N + (l & 3) * 2 + (i & 1)], dt);
}
void mmaF64(Exec& x) {                            // m8n8k4: one element of A and B, two of C per lane
  const Inst& I = *x.I;
  auto ra = rowsOf(x, I.o[1]), rb = rowsOf(x, I.o[2]), rc = rowsOf(x, I.o[3]);
  double A[8][4], B[4][8], C[8][8];
  for (int l = 0; l < 32; l++) {
    int g = l >> 2, t = l & 3;
    A[g][t] = asF64(ra[0][l]);
    B[t][g] = asF64(rb[0][l]);
    for (int i = 0; i < 2; i++) C[g][t * 2 + i] = asF64(rc[i][l]);
  }
  for (int i = 0; i < 8; i++) for (int j = 0; j < 8; j++) for (int k = 0; k < 4; k++) C[i][j] = std::fma(A[i][k], B[k][j], C[i][j]);
  countMma(x, {8, 8, 4});
  for (int l = 0; l < 32; l++) for (int i = 0; i < 2; i++) x.dst(I.o[0].sub[i])[l] = bitsF64(C[l >> 2][(l & 3) * 2 + i]);
}

// ldmatrix / stmatrix: matrix q takes its eight row addresses from lanes 8q..8q+7
void matrixMove(Exec& x) {
  const Inst& I = *x.I;
  const bool store = I.op == "stmatrix", trans = I.has("trans");
  const int count = I.has("x4") ? 4 : I.has("x2") ? 2 : 1;
  const Operand &memOp = I.o[store ? 0 : 1], &reg = I.o[store ? 1 : 0];
  u64 a[32];
  const u64* base = x.src(memOp.sub[0]);
  for (int l = 0; l < 32; l++) a[l] = (I.space == SP_SHARED ? (u32)base[l] : base[l]) + memOp.off;
  for (int q = 0; q < count; q++) {
    u16 t[8][8];
    u64* d = store ? x.src(reg.kind == OP_VEC ? reg.sub[q] : reg) : x.dst(reg.kind == OP_VEC ? reg.sub[q] : reg);
    if (store)
      for (int l = 0; l < 32; l++) {
        int r = l >> 2, c = (l & 3) * 2;
        for (int i = 0; i < 2; i++) (trans ? t[c + i][r] : t[r][c + i]) = (u16)(d[l] >> (16 * i));
      }
    for (int r = 0; r < 8; r++) {
      int lane = q * 8 + r;
      u64 ra = a[lane];
      if (ra % 16) x.faultAddr(lane, "misaligned", ra);
      x.check(ra, 16, lane);
      x.race(ra, 16, lane, store);
      if (store) memcpy((void*)ra, t[r], 16); else memcpy(t[r], (void*)ra, 16);
    }
    if (!store)
      for (int l = 0; l < 32; l++) {
        int r = l >> 2, c = (l & 3) * 2;
        d[l] = trans ? (u32)t[c][r] | (u32)t[c + 1][r] << 16 : (u32)t[r][c] | (u32)t[r][c + 1] << 16;
      }
  }
  u32 m = x.m;
  x.m = count == 4 ? kFullMask : (1u << (8 * count)) - 1;
  x.countAccess(a, 16, store);                    // eight 16-byte rows per phase
  x.m = m;
}
void movmatrix(Exec& x) {                         // transpose an 8x8 tile of b16
  u16 t[8][8];
  const u64* a = x.src(1);
  for (int l = 0; l < 32; l++) for (int i = 0; i < 2; i++) t[l >> 2][(l & 3) * 2 + i] = (u16)(a[l] >> (16 * i));
  u64* d = x.dst();
  for (int l = 0; l < 32; l++) d[l] = (u32)t[(l & 3) * 2][l >> 2] | (u32)t[(l & 3) * 2 + 1][l >> 2] << 16;
}

void wmmaMove(Exec& x) {
  const Inst& I = *x.I;
  const bool store = I.mods[0] == "store", row = I.has("row");
  Shape s;
  shapeOf(I, s);
  const string& which = I.mods[1];
  const Type t = I.types.back();
  const int rows = which == "b" ? s.K : s.M, cols = which == "a" ? s.K : s.N, total = rows * cols, perLane = total / 32, size = t.bytes();
  const Operand &frag = store ? I.o[1] : I.o[0], &memOp = store ? I.o[0] : I.o[1];
  const int fl = x.firstLane(), per = std::max(1, 4 / size);
  u64 base = x.src(memOp.sub[0])[fl];
  if (I.space == SP_SHARED) base = (u32)base;
  base += memOp.off;
  const s64 ldm = I.o.size() > 2 ? (s32)x.src(2)[fl] : row ? cols : rows;
  for (int e = 0; e < total; e++) {
    int l = e / perLane, i = e % perLane, r = e / cols, c = e % cols;
    u64 a = base + (u64)((row ? r * ldm + c : c * ldm + r) * size);
    x.check(a, size, l);
    x.race(a, size, l, store);
    int reg = i / per, sh = 8 * size * (i % per);
    u64* d = x.dst(frag.sub[reg]);
    if (store) { u32 v = (u32)(d[l] >> sh); memcpy((void*)a, &v, size); }
    else { u64 keep = maskTo(~0ull, 8 * size) << sh; d[l] = (d[l] & ~keep & 0xffffffffu) | readMem(a, size) << sh; }
  }
  if (x.b.stats) {                                // traffic of the tile: one request per 16-byte lane group, in memory order
    const int outer = row ? rows : cols, inner = row ? cols : rows, chunk = std::min(16, inner * size);
    u64 a[32];
    u32 m = x.m;
    int n = 0;
    auto flushChunk = [&] { if (n) { x.m = n == 32 ? kFullMask : (1u << n) - 1; x.countAccess(a, chunk, store); n = 0; } };
    for (int o = 0; o < outer; o++)
      for (int c = 0; c < inner * size; c += chunk) { a[n++] = base + (u64)o * ldm * size + c; if (n == 32) flushChunk(); }
    flushChunk();
    x.m = m;
  }
}
void wmma(Exec& x) {
  const Inst& I = *x.I;
  Shape s;
  shapeOf(I, s);
  Type dt = I.types[0], at, bt, ct;
  if (I.types.size() == 2) { ct = I.types[1]; at = bt = {K_FLOAT, 16}; }
  else { at = I.types[1]; bt = I.types[2]; ct = I.types[3]; }
  const int per = 32 / at.w;
  vector<double> A(s.M * s.K), B(s.K * s.N), C(s.M * s.N);
  auto ra = rowsOf(x, I.o[1]), rb = rowsOf(x, I.o[2]), rc = rowsOf(x, I.o[3]);
  auto load = [&](vector<double>& v, const vector<const u64*>& r, Type t) {
    int pl = (int)v.size() / 32;
    for (size_t e = 0; e < v.size(); e++) { int l = (int)e / pl, i = (int)e % pl; v[e] = element(t, (u32)r[i / per][l], i % per); }
  };
  load(A, ra, at);
  load(B, rb, bt);
  int pl = s.M * s.N / 32;
  for (int e = 0; e < s.M * s.N; e++) C[e] = accum(ct, rc, e % pl, e / pl);
  matmul(I, s, A.data(), B.data(), C.data(), dt);
  countMma(x, s);
  for (int e = 0; e < s.M * s.N; e++) putAccum(x, I.o[0], e % pl, e / pl, C[e], dt);
}
}  // namespace

Handler selectMma(Inst& I) {
  Shape s;
  if (I.op == "mma") {
    if (I.types.size() < 4 || !shapeOf(I, s) || I.has("sp") || I.has("sp::ordered_metadata") || I.has("block_scale")) return nullptr;
    for (auto& m : I.mods) if (m == "s4" || m == "u4" || m == "b1" || m.rfind("e2m", 0) == 0 || m.rfind("e3m", 0) == 0) return nullptr;
    if (I.types[1].w == 64) return s.M == 8 && s.N == 8 && s.K == 4 ? mmaF64 : nullptr;
    if ((s.M != 16 && s.M != 8) || s.N != 8 || s.K > 64 || I.types[1].k == K_BITS || (s.M == 8 && s.K == 4)) return nullptr;
    return mma;
  }
  if (I.op == "wmma") {
    if (I.mods.size() < 2 || !shapeOf(I, s)) return nullptr;
    for (auto& m : I.mods) if (m == "s4" || m == "u4" || m == "b1" || m == "f64") return nullptr;
    if (I.mods[0] == "load" || I.mods[0] == "store") return wmmaMove;
    return I.types.size() >= 2 ? wmma : nullptr;
  }
  if (I.op == "ldmatrix" || I.op == "stmatrix") return I.has("m8n8") && I.has("b16") ? matrixMove : nullptr;
  if (I.op == "movmatrix") return movmatrix;
  return nullptr;
}
}  // namespace cuda_emulator
