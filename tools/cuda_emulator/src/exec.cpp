// Scheduler: runs a grid block by block. Within a block each warp runs in turn; within a warp the group of lanes
// with the lowest program counter runs first, which makes divergent lanes reconverge.
#include "exec.h"
#include <algorithm>

namespace cuda_emulator {
u64 g_warpInst = 0;

string lanePosition(const Block& b, const Warp& w, int l) {
  u32 t = w.id * 32 + l;
  char s[160];
  snprintf(s, sizeof s, "block(%u,%u,%u) thread(%u,%u,%u)", b.bid[0], b.bid[1], b.bid[2], t % b.bdim[0],
           t / b.bdim[0] % b.bdim[1], t / b.bdim[0] / b.bdim[1]);
  return s;
}
void Exec::fault(int l, const string& what) { throw Error(what + ", " + lanePosition(b, w, l) + ", " + position(*b.M, *b.F, *I)); }
void Exec::faultAddr(int l, const char* what, u64 a) {
  char s[64];
  snprintf(s, sizeof s, " address 0x%llx", (unsigned long long)a);
  fault(l, what + string(s));
}

u64* Exec::srcSlow(const Operand& o, Type t) {
  u64* d = scratch();
  switch (o.kind) {
    case OP_REG: {
      u64* s = row(o.reg);
      for (int l = 0; l < 32; l++)
        d[l] = t.k == K_PRED ? !s[l] : t.is(K_FLOAT, 32) ? bitsF32(-asF32(s[l])) : t.is(K_FLOAT, 64) ? bitsF64(-asF64(s[l])) : (u64)-(s64)s[l];
      return d;
    }
    case OP_IMM: {
      u64 v = o.imm;
      if (o.isFloat) {
        double f = o.floatBits == 32 ? asF32(v) : asF64(v);
        if (t.is(K_FLOAT, 64)) v = bitsF64(f);
        else if (t.w == 32 && o.floatBits == 64) v = bitsF32((float)f);
      }
      if (v == o.imm && !o.neg) return o.splat->data();
      if (o.neg) v = t.k == K_PRED ? !v : (u64)-(s64)v;
      for (int l = 0; l < 32; l++) d[l] = v;
      return d;
    }
    case OP_SREG:
      if (o.reg < SR_NTID) return w.tid[o.reg];
      if (o.reg < SR_LANEID) return b.uniform[o.reg - SR_NTID];
      for (int l = 0; l < 32; l++) {
        switch (o.reg) {
          case SR_LANEID: d[l] = l; break;
          case SR_WARPID: d[l] = w.id; break;
          case SR_NWARPID: d[l] = b.warps.size(); break;
          case SR_LM_EQ: d[l] = 1u << l; break;
          case SR_LM_LT: d[l] = (1u << l) - 1; break;
          case SR_LM_LE: d[l] = (u32)((2ull << l) - 1); break;
          case SR_LM_GT: d[l] = (u32)~((2ull << l) - 1); break;
          case SR_LM_GE: d[l] = (u32)~((1u << l) - 1); break;
          case SR_DYN_SMEM: d[l] = b.dynShared; break;
          case SR_TOTAL_SMEM: d[l] = b.sharedSize; break;
          case SR_CLOCK: d[l] = g_warpInst; break;
          case SR_WARPSZ: d[l] = 32; break;
          case SR_ONE: d[l] = 1; break;
          default: d[l] = 0;
        }
      }
      return d;
    case OP_LOCAL:
      for (int l = 0; l < 32; l++) d[l] = (u64)w.local.data() + (u64)l * b.F->localSize + o.imm;
      return d;
    case OP_SYM: throw Error("unknown symbol " + o.sym + ", " + position(*b.M, *b.F, *I));
    default: throw Error("bad operand, " + position(*b.M, *b.F, *I));
  }
}

void Exec::checkSlow(u64 a, u32 n, int l) {
  u64 lo = (u64)w.local.data();
  if (a >= lo && a + n <= lo + w.local.size()) {
    // a lane's own slice only: an overrun into the next lane's frame is a bug of the program
    u64 mine = lo + (u64)l * b.F->localSize;
    if (a < mine || a + n > mine + b.F->localSize) faultAddr(l, "out-of-bounds local", a);
    return;
  }
  if (!mem::checksEnabled() && a >= 65536 && !(a >> 47) && !isShared(a)) { region = 0; return; }
  faultAddr(l, isShared(a) ? "out-of-bounds shared" : "out-of-bounds", a);
}

// Shared-memory race check between warps: same word, same barrier epoch, different warps, at least one plain write.
// A tag is epoch << 6 | (warp + 1); 63 stands for "several warps".
void Exec::raceSlow(u64 a, u32 n, int l, bool write) {
  u64 s0 = mem::sharedBase();
  if (a < s0 || a >= s0 + b.sharedSize) return;
  for (u64 q = (a - s0) / 4; q <= (a - s0 + n - 1) / 4; q++) {
    u32 tag = b.epoch << 6 | (w.id + 1), lw = b.lastWrite[q], lr = b.lastRead[q];
    if (lw >> 6 == b.epoch && (lw & 63) && lw != tag)
      faultAddr(l, write ? "shared-memory race (write/write, no barrier)" : "shared-memory race (read after write, no barrier)", a);
    if (write) {
      if (lr >> 6 == b.epoch && (lr & 63) && lr != tag) faultAddr(l, "shared-memory race (write after read, no barrier)", a);
      b.lastWrite[q] = tag;
    } else b.lastRead[q] = lr >> 6 == b.epoch && (lr & 63) && lr != tag ? (b.epoch << 6 | 63) : tag;
  }
}

// --- statistics --------------------------------------------------------------------------------------
void Exec::countSlow(const u64* addr, u32 bytes, bool write) {
  if (I->space == SP_CONST) return;          // served by the constant cache
  KernelStats& st = *b.stats;
  u32 shared = 0, local = 0, global = 0;
  u64 p = mem::paramBase();
  each([&](int l) {
    u64 a = addr[l];
    if (isShared(a)) shared |= 1u << l;
    else if (isLocal(a)) local |= 1u << l;
    else if (a < p || a >= p + mem::kParamMax) global |= 1u << l;
  });
  if (shared) {
    SharedTraffic& t = write ? st.sharedStore : st.sharedLoad;
    t.requests++;
    t.bytes += (u64)__builtin_popcount(shared) * bytes;
    // 32 banks of 4 bytes; 8-byte accesses are served in two halves, 16-byte ones in four quarters of the warp
    int phases = bytes <= 4 ? 1 : bytes == 8 ? 2 : 4, lanes = 32 / phases;
    for (int ph = 0; ph < phases; ph++) {
      vector<u64> words;
      for (int l = ph * lanes; l < (ph + 1) * lanes; l++)
        if (shared >> l & 1) for (u64 q = addr[l] / 4; q <= (addr[l] + bytes - 1) / 4; q++) words.push_back(q);
      if (words.empty()) continue;
      std::sort(words.begin(), words.end());
      words.erase(std::unique(words.begin(), words.end()), words.end());
      int bank[32] = {}, worst = 0;
      for (u64 q : words) worst = std::max(worst, ++bank[q & 31]);
      t.wavefronts += worst;
      t.conflicts += worst - 1;
    }
  }
  auto traffic = [&](Traffic& t, u32 mask) {
    t.requests++;
    t.bytes += (u64)__builtin_popcount(mask) * bytes;
    u64 sec[160];
    int n = 0;
    for (u32 q = mask; q; q &= q - 1) {
      u64 a = addr[__builtin_ctz(q)], lo = 0;
      if (!mem::inRegion(a, bytes, lo)) lo = 0;
      // sectors are counted from the start of the allocation, so results do not depend on where the host put it
      for (u64 s = (a - lo) / 32; s <= (a - lo + bytes - 1) / 32 && n < 160; s++) sec[n++] = lo + s * 32;
    }
    std::sort(sec, sec + n);
    t.sectors += std::unique(sec, sec + n) - sec;
  };
  if (global) traffic(write ? st.globalStore : st.globalLoad, global);
  if (local && !I->callParam) traffic(write ? st.localStore : st.localLoad, local);
}

void Exec::countAtomic(const u64* addr) {
  if (!b.stats) return;
  u64 s[2][32];
  int n[2] = {0, 0};
  each([&](int l) { int k = isShared(addr[l]); s[k][n[k]++] = addr[l]; });
  for (int k = 0; k < 2; k++) {
    if (!n[k]) continue;
    std::sort(s[k], s[k] + n[k]);
    u64 extra = n[k] - (std::unique(s[k], s[k] + n[k]) - s[k]);
    (k ? b.stats->sharedAtomics : b.stats->globalAtomics) += n[k];
    (k ? b.stats->sharedAtomicSerial : b.stats->globalAtomicSerial) += extra;
  }
}

// --- barriers ----------------------------------------------------------------------------------------
static void releaseBarriers(Block& b) {
  for (auto& e : b.bars) {
    BarrierState& s = e.second;
    if (!s.arrived) continue;
    u32 need = s.expected;
    if (!need) for (auto& w : b.warps) need += __builtin_popcount(w.live);   // all threads still running
    if (s.arrived < need) continue;
    for (auto& w : b.warps) {
      u32 rel = 0;
      for (u32 q = w.barWait; q; q &= q - 1) {
        int l = __builtin_ctz(q);
        if (w.barId[l] != e.first) continue;
        rel |= 1u << l;
        if (w.redDst[l] >= 0)
          w.regs[(size_t)w.redDst[l] * 32 + l] = w.redKind[l] == 1 ? s.redTrue : w.redKind[l] == 2 ? s.redTrue == s.redCount : s.redTrue > 0;
      }
      w.barWait &= ~rel;
      w.runnable |= rel;
    }
    s = BarrierState();
    b.epoch++;
  }
}

static void arrive(Block& b, Warp& w, Exec& x, u32 lanes) {
  const Inst& I = *x.I;
  bool arriveOnly = I.has("arrive"), red = I.has("red");
  int k = red ? 1 : 0;
  const u64* id = x.src(k);
  bool hasCount = (int)I.o.size() > (red ? 3 : 1);
  u32 count = hasCount ? (u32)x.src(k + 1)[__builtin_ctz(lanes)] : 0;
  const u64* p = red ? x.src((int)I.o.size() - 1, {K_PRED, 1}) : nullptr;
  int kind = !red ? 0 : I.has("popc") ? 1 : I.has("and") ? 2 : 3;
  if (b.stats) b.stats->barriers++;
  for (u32 q = lanes; q; q &= q - 1) {
    int l = __builtin_ctz(q);
    BarrierState& s = b.bars[(int)id[l]];
    s.expected = count;
    s.arrived++;
    w.barId[l] = (int)id[l];
    w.redKind[l] = kind;
    w.redDst[l] = red ? I.o[0].reg : -1;
    if (red) { s.redTrue += p[l] != 0; s.redCount++; }
    if (!arriveOnly) { w.barWait |= 1u << l; w.runnable &= ~(1u << l); }
  }
  releaseBarriers(b);
}

// Warp-level operations wait until every lane of the member mask has arrived at the same instruction.
// Returns true when exactly the given group ran and may simply continue.
static bool warpSync(Block& b, Warp& w, Exec& x, u32 group, u32 lanes, int pc) {
  const Inst& I = *x.I;
  bool all = I.ctl == CT_WARPSYNC_ALL;
  const u64* mask = all ? nullptr : x.src((int)I.o.size() - 1);
  for (u32 q = lanes; q; q &= q - 1) {
    int l = __builtin_ctz(q);
    u32 need = all ? kFullMask : (u32)mask[l];
    if (!(need >> l & 1)) x.fault(l, "lane is not in its own member mask");
    if (need & ~w.live) x.fault(l, "warp operation names lanes that have exited or do not exist");
    w.syncMask[l] = need;
    w.syncPc[l] = pc;
    w.syncWait |= 1u << l;
    w.runnable &= ~(1u << l);
  }
  for (u32 q = lanes; q; q &= q - 1) {
    int l = __builtin_ctz(q);
    if (!(w.syncWait >> l & 1)) continue;
    u32 g = w.syncMask[l];
    bool ready = (w.syncWait & g) == g;
    if (ready) for (u32 z = g; z; z &= z - 1) { int k = __builtin_ctz(z); if (w.syncMask[k] != g || w.syncPc[k] != pc) ready = false; }
    if (!ready) continue;
    x.m = g;
    I.run(x);
    if (b.stats) b.stats->warpSyncs++;
    w.syncWait &= ~g;
    w.runnable |= g;
    if (g == group && g == lanes) return true;
  }
  return false;
}

static void setPc(Warp& w, u32 lanes, int pc) { for (u32 q = lanes; q; q &= q - 1) w.pc[__builtin_ctz(q)] = pc; }

// Run one warp until it blocks or the budget is spent; true if anything ran.
static bool runSlice(Block& b, Warp& w, int budget) {
  bool any = false;
  Function& F = *b.F;
  const int end = (int)F.code.size();
  KernelStats* st = b.stats;
  Exec x(b, w);
  x.smemLo = mem::sharedBase();
  x.smemHi = x.smemLo + b.sharedSize;
  x.paramLo = mem::paramBase();
  x.paramHi = x.paramLo + F.paramSize + 16;
  while (w.runnable && budget-- > 0) {
    any = true;
    int pc = 1 << 30, next = 1 << 30;          // lowest pc, and the lowest among the other lanes
    for (u32 q = w.runnable; q; q &= q - 1) pc = std::min(pc, w.pc[__builtin_ctz(q)]);
    u32 m = 0;
    for (u32 q = w.runnable; q; q &= q - 1) {
      int l = __builtin_ctz(q);
      if (w.pc[l] == pc) m |= 1u << l; else next = std::min(next, w.pc[l]);
    }
    if (pc >= end) {
      w.live &= ~m; w.runnable &= ~m;
      b.live -= __builtin_popcount(m);
      releaseBarriers(b);
      continue;
    }
    // straight-line run while this group stays together and below every other group
    for (;;) {
      const Inst& I = F.code[pc];
      u32 e = m;
      g_warpInst++;
      if (I.pred >= 0) {
        const u64* p = &w.regs[(size_t)I.pred * 32];
        u32 pm = 0;
        for (int l = 0; l < 32; l++) pm |= (u32)(p[l] != 0) << l;
        e = m & (I.predNeg ? ~pm : pm);
      }
      if (st) { st->warpInst++; int n = __builtin_popcount(e); st->threadInst += n; st->byClass[I.cls] += n; }
      if (I.ctl == CT_NORMAL) {
        if (e) { x.I = &I; x.m = e; x.nt = 0; I.run(x); }
        pc++;
      } else if (I.ctl == CT_BRANCH) {
        if (st) { st->branches++; st->divergentBranches += e && e != m; }
        if (e == m) pc = I.target;
        else if (!e) pc++;
        else { setPc(w, m & ~e, pc + 1); setPc(w, e, I.target); break; }
      } else if (!e) pc++;
      else {
        x.I = &I; x.m = e; x.nt = 0;
        if (I.ctl == CT_BRANCH_TABLE) {
          setPc(w, m & ~e, pc + 1);
          const u64* ix = x.src(0);
          for (u32 q = e; q; q &= q - 1) {
            int l = __builtin_ctz(q);
            if ((u32)ix[l] >= I.table.size()) x.fault(l, "brx.idx index out of range");
            w.pc[l] = I.table[(u32)ix[l]];
          }
          if (st) { st->branches++; for (u32 q = e; q; q &= q - 1) if (w.pc[__builtin_ctz(q)] != w.pc[__builtin_ctz(e)]) { st->divergentBranches++; break; } }
          break;
        }
        setPc(w, m, pc + 1);
        if (I.ctl == CT_EXIT) {
          w.live &= ~e; w.runnable &= ~e;
          b.live -= __builtin_popcount(e);
          releaseBarriers(b);
          break;
        }
        if (I.ctl == CT_BARRIER) { arrive(b, w, x, e); break; }
        if (!warpSync(b, w, x, m, e, pc)) break;
        pc++;
      }
      if (pc >= next || pc >= end || --budget < 0) { setPc(w, m, pc); break; }
    }
  }
  return any;
}

static void startBlock(Block& b, bool race) {
  memset((void*)mem::sharedBase(), 0xCD, b.sharedSize);
  b.bars.clear();
  if (race) { b.lastWrite.assign(b.sharedSize / 4 + 2, 0); b.lastRead.assign(b.sharedSize / 4 + 2, 0); }
  b.epoch = 1;
  b.live = b.numThreads;
  for (int c = 0; c < 3; c++)
    for (int l = 0; l < 32; l++) { b.uniform[c][l] = b.bdim[c]; b.uniform[3 + c][l] = b.bid[c]; b.uniform[6 + c][l] = b.gdim[c]; }
  for (u32 i = 0; i < b.warps.size(); i++) {
    Warp& w = b.warps[i];
    w.id = i;
    // registers and local memory start with a recognisable pattern, so use before initialisation shows up
    w.regs.assign((size_t)std::max(1, b.F->nreg) * 32, 0xBADBADBADBADBADull);
    w.local.assign((size_t)b.F->localSize * 32 + 16, 0xCD);
    u32 n = std::min(32u, b.numThreads - i * 32);
    w.live = w.runnable = n == 32 ? kFullMask : (1u << n) - 1;
    w.barWait = w.syncWait = w.carry = 0;
    memset(w.pc, 0, sizeof w.pc);
    for (int l = 0; l < 32; l++) {
      u32 t = i * 32 + l;
      w.tid[0][l] = t % b.bdim[0]; w.tid[1][l] = t / b.bdim[0] % b.bdim[1]; w.tid[2][l] = t / b.bdim[0] / b.bdim[1];
    }
  }
}

void launch(Module& M, const string& name, const u32 g[3], const u32 bd[3], const u8* params, u32 dyn) {
  auto it = M.functions.find(name);
  if (it == M.functions.end()) throw Error("no kernel " + name);
  Function& F = it->second;
  link(M, F);
  u32 total = F.staticShared + dyn;
  if (total > mem::kSharedMax) throw Error("shared memory over 227 KiB: " + std::to_string(total));
  u64 nt = (u64)bd[0] * bd[1] * bd[2];
  if (nt > 1024 || !nt) throw Error("block of " + std::to_string(nt) + " threads");
  if (F.paramSize > mem::kParamMax) throw Error("kernel parameters too large");
  memcpy((void*)mem::paramBase(), params, F.paramSize);

  Block b;
  b.F = &F; b.M = &M;
  b.numThreads = (u32)nt;
  b.sharedSize = total; b.dynShared = dyn;
  memcpy(b.bdim, bd, 12);
  memcpy(b.gdim, g, 12);
  b.warps.resize((nt + 31) / 32);
  const u64 blocks = (u64)g[0] * g[1] * g[2];
  if (stats::enabled()) {
    KernelStats& st = stats::forKernel(name);
    b.stats = &st;
    st.launches++; st.blocks += blocks; st.threads += blocks * nt;
    st.sharedBytes = std::max(st.sharedBytes, total);
    st.localBytes = F.localSize;
    if (stats::tracing()) stats::trace(name, g, bd, dyn);
  }
  const char* lim = getenv("CUDA_EMULATOR_MAX_INST");
  const u64 limit = lim ? strtoull(lim, 0, 10) : 200000000ull;
  const char* r = getenv("CUDA_EMULATOR_RACE");
  const bool race = r && *r && strcmp(r, "0");
  for (u64 bi = 0; bi < blocks; bi++) {
    b.bid[0] = bi % g[0]; b.bid[1] = bi / g[0] % g[1]; b.bid[2] = bi / g[0] / g[1];
    startBlock(b, race);
    const u64 start = g_warpInst;
    while (b.live) {
      if (g_warpInst - start > limit)
        throw Error("kernel '" + name + "': a block ran over CUDA_EMULATOR_MAX_INST warp instructions (infinite loop, or a wait for another block: blocks run one after another)");
      bool any = false;
      for (auto& w : b.warps) any |= runSlice(b, w, 20000);
      if (any || !b.live) continue;
      string s = "deadlock (divergent barrier or incomplete warp mask): ";
      for (auto& w : b.warps)
        for (int l = 0; l < 32; l++)
          if ((w.live >> l & 1) && ((w.barWait | w.syncWait) >> l & 1))
            throw Error(s + lanePosition(b, w, l) + " waits, " + position(M, F, F.code[std::max(0, w.pc[l] - 1)]));
      throw Error(s + "kernel '" + name + "'");
    }
  }
}
}  // namespace cuda_emulator
