// Execution state shared by the scheduler (exec.cpp) and the instruction handlers (ops_*.cpp).
#pragma once
#include "memory.h"
#include "module.h"
#include "stats.h"

namespace cuda_emulator {

const u32 kFullMask = 0xffffffffu;

struct Warp {
  int id = 0;
  vector<u64> regs;             // register rows: regs[row * 32 + lane]
  vector<u8> local;             // 32 * localSize bytes, lane-major
  u32 live = 0, runnable = 0;   // lane masks
  u32 barWait = 0, syncWait = 0;
  u32 carry = 0;                // condition-code carry flag per lane
  int pc[32];
  int syncPc[32];               // instruction a lane waits at in a warp-level operation
  u32 syncMask[32];             // and the member mask it named
  int barId[32];                // barrier a lane waits at
  int redDst[32], redKind[32];  // pending barrier.red result: register row, 1 popc / 2 and / 3 or / 0 none
  u64 tid[3][32];
};

struct BarrierState { u32 expected = 0, arrived = 0, redTrue = 0, redCount = 0; };

struct Block {
  Function* F;
  Module* M;
  u32 bid[3], bdim[3], gdim[3], numThreads, sharedSize, dynShared, live;
  vector<Warp> warps;
  std::map<int, BarrierState> bars;
  u64 uniform[9][32];           // %ntid, %ctaid, %nctaid
  u32 epoch = 1;                // advanced whenever a barrier completes (race detection)
  vector<u32> lastWrite, lastRead;
  KernelStats* stats = nullptr;
};

extern u64 g_warpInst;          // issued warp instructions, all launches

// Context of one instruction: block, warp, instruction and active lanes.
struct Exec {
  Block& b;
  Warp& w;
  const Inst* I = nullptr;
  u32 m = 0;                    // active lanes
  u64 tmp[8][32];
  int nt = 0;
  u64 region = 0;               // start of the region hit by the last check()

  Exec(Block& bb, Warp& ww) : b(bb), w(ww) {}
  Exec(const Exec&) = delete;

  u64* row(int r) { return &w.regs[(size_t)r * 32]; }
  u64* scratch() { return tmp[nt++ & 7]; }
  // Source operand as 32 lane values, interpreted as type t where that matters (literals, negation).
  u64* src(const Operand& o, Type t = {K_BITS, 64}) {
    if (o.kind == OP_REG && !o.neg) return row(o.reg);
    if (o.kind == OP_IMM && !o.neg && !o.isFloat) return o.splat->data();
    return srcSlow(o, t);
  }
  u64* srcSlow(const Operand& o, Type t);
  u64* src(int i, Type t = {K_BITS, 64}) { return src(I->o[i], t); }
  u64* dst(const Operand& o) {
    if (o.kind == OP_REG) return row(o.reg);
    if (o.kind == OP_NONE) return scratch();
    throw Error("bad destination operand");
  }
  u64* dst(int i = 0) { return dst(I->o[i]); }
  template <class Fn> void each(Fn f) {
    if (m == kFullMask) for (int l = 0; l < 32; l++) f(l);
    else for (u32 q = m; q; q &= q - 1) f(__builtin_ctz(q));
  }
  int firstLane() const { return __builtin_ctz(m); }

  [[noreturn]] void fault(int lane, const string& what);
  [[noreturn]] void faultAddr(int lane, const char* what, u64 a);
  bool isShared(u64 a) const { u64 s = mem::sharedBase(); return a >= s && a < s + mem::kSharedWindow; }
  bool isLocal(u64 a) const { u64 s = (u64)w.local.data(); return a >= s && a < s + w.local.size(); }
  // Bounds and alignment of one lane's access of n bytes (n a power of two).
  void check(u64 a, u32 n, int lane) {
    if (a & (n - 1)) faultAddr(lane, "misaligned", a);
    if (a >= smemLo && a + n <= smemHi) return;
    if (a >= paramLo && a + n <= paramHi) return;
    if (!isLocal(a) && mem::inRegion(a, n, region)) return;
    checkSlow(a, n, lane);
  }
  void checkSlow(u64 a, u32 n, int lane);
  void race(u64 a, u32 n, int lane, bool write) { if (!b.lastWrite.empty()) raceSlow(a, n, lane, write); }
  void raceSlow(u64 a, u32 n, int lane, bool write);
  u64 smemLo = 0, smemHi = 0, paramLo = 0, paramHi = 0;

  // Statistics for one warp access: lane addresses, bytes per lane.
  void countAccess(const u64* addr, u32 bytes, bool write) { if (b.stats) countSlow(addr, bytes, write); }
  void countSlow(const u64* addr, u32 bytes, bool write);
  void countAtomic(const u64* addr);
};

string lanePosition(const Block& b, const Warp& w, int lane);
void launch(Module& M, const string& name, const u32 grid[3], const u32 block[3], const u8* params, u32 dynShared);

inline u64 readMem(u64 a, u32 n) { u64 v = 0; memcpy(&v, (const void*)a, n); return v; }

// Handler selection, one function per source file; nullptr when the instruction is not theirs or not supported.
Handler selectAlu(Inst& I);
Handler selectCvt(Inst& I);
Handler selectMem(Inst& I);
Handler selectWarp(Inst& I);
Handler selectMma(Inst& I);
// Atomic/reduction operators: old value o, operand x, second operand y (cas).
enum AtomOp { A_ADD, A_MIN, A_MAX, A_AND, A_OR, A_XOR, A_EXCH, A_CAS, A_INC, A_DEC };
int atomOpOf(const Inst& I);
u64 applyAtom(int op, Type t, u64 o, u64 x, u64 y);
float minmaxF(float x, float y, bool isMax, bool nanProp);
}  // namespace cuda_emulator
