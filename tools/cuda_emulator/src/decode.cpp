// Turns a parsed instruction into a handler plus predecoded modifiers.
#include "exec.h"
#include <cfenv>

namespace cuda_emulator {
namespace {

void unsupported(Exec& x) {
  x.fault(x.firstLane(), "unsupported PTX instruction" + (x.I->why.empty() ? string() : " (" + x.I->why + ")"));
}
void nop(Exec&) {}

// Directed rounding: the host FPU mode is switched around the real handler (an opaque call, so it cannot move).
void runRounded(Exec& x) {
  const Round r = x.I->rnd;
  fesetround(r == R_RZ ? FE_TOWARDZERO : r == R_RM ? FE_DOWNWARD : FE_UPWARD);
  x.I->inner(x);
  fesetround(FE_TONEAREST);
}

InstClass classify(const Inst& I) {
  static const std::map<string, int> special = {{"sqrt", 1}, {"rsqrt", 1}, {"rcp", 1}, {"ex2", 1}, {"lg2", 1}, {"sin", 1}, {"cos", 1}, {"tanh", 1}};
  static const std::map<string, int> arith = {{"add", 1}, {"sub", 1}, {"mul", 1}, {"mad", 1}, {"fma", 1}, {"div", 1}, {"rem", 1},
    {"min", 1}, {"max", 1}, {"abs", 1}, {"neg", 1}, {"setp", 1}, {"set", 1}, {"addc", 1}, {"subc", 1}, {"madc", 1}, {"sad", 1},
    {"and", 1}, {"or", 1}, {"xor", 1}, {"not", 1}, {"shl", 1}, {"shr", 1}, {"shf", 1}, {"lop3", 1}, {"prmt", 1}, {"bfe", 1},
    {"bfi", 1}, {"popc", 1}, {"clz", 1}, {"brev", 1}, {"bfind", 1}, {"dp4a", 1}, {"dp2a", 1}, {"bmsk", 1}, {"mul24", 1}, {"mad24", 1}};
  if (special.count(I.op)) return IC_SPECIAL;
  if (!arith.count(I.op)) return IC_OTHER;
  if (I.types.empty()) return IC_INT;
  Type t = I.types.back();
  switch (t.k) {
    case K_FLOAT: return t.w == 64 ? IC_FP64 : t.w == 32 ? IC_FP32 : IC_FP16;
    case K_F32X2: return IC_FP32;
    case K_F16X2: case K_BF16: case K_BF16X2: return IC_FP16;
    default: return IC_INT;
  }
}
}  // namespace

int atomOpOf(const Inst& I) {
  static const std::map<string, int> ops = {{"add", A_ADD}, {"min", A_MIN}, {"max", A_MAX}, {"and", A_AND}, {"or", A_OR},
    {"xor", A_XOR}, {"exch", A_EXCH}, {"cas", A_CAS}, {"inc", A_INC}, {"dec", A_DEC}};
  for (auto& s : I.mods) { auto f = ops.find(s); if (f != ops.end()) return f->second; }
  return -1;
}

bool supported(const Inst& I) { return I.run != unsupported; }

void decode(Inst& I, const Function&) {
  I.ctl = CT_NORMAL;
  I.run = nullptr;
  if (I.why.size()) { I.run = unsupported; return; }
  I.sat = I.has("sat") || I.has("satfinite");
  I.relu = I.has("relu");
  I.nan = I.has("NaN");
  I.hi = I.has("hi");
  I.wide = I.has("wide");
  for (auto& s : I.mods) {
    if (s == "rn" || s == "rni") I.rnd = R_RN;
    else if (s == "rz" || s == "rzi") I.rnd = R_RZ;
    else if (s == "rm" || s == "rmi") I.rnd = R_RM;
    else if (s == "rp" || s == "rpi") I.rnd = R_RP;
    else if (s == "rna") I.rnd = R_RNA;
    else if (s == "global" || s.rfind("global::", 0) == 0) I.space = SP_GLOBAL;
    else if (s == "shared" || s == "shared::cta") I.space = SP_SHARED;
    else if (s == "local") I.space = SP_LOCAL;
    else if (s == "param" || s.rfind("param::", 0) == 0) I.space = SP_PARAM;
    else if (s == "const") I.space = SP_CONST;
    else if (s == "shared::cluster") I.space = SP_SHARED;       // a cluster here is one block
  }
  I.cls = classify(I);
  try {
    const string& op = I.op;
    if (op == "bra") I.ctl = CT_BRANCH;
    else if (op == "brx") I.ctl = CT_BRANCH_TABLE;
    else if (op == "ret" || op == "exit") I.ctl = CT_EXIT;
    else if (op == "bar" && I.has("warp")) { I.ctl = CT_WARPSYNC; I.run = nop; }
    else if (op == "bar" || op == "barrier") { if (!I.has("cluster")) { I.ctl = CT_BARRIER; I.run = nop; } }
    else if (op == "membar" || op == "fence" || op == "nanosleep" || op == "prefetch" || op == "prefetchu" || op == "pmevent" ||
             op == "griddepcontrol" || op == "discard" || op == "applypriority" || op == "createpolicy" || op == "setmaxnreg") {
      I.run = nop;
      if (op == "fence" && I.has("proxy") && (I.has("tensormap::generic"))) I.run = nullptr;
      if (op == "createpolicy") I.run = [](Exec& x) { u64* d = x.dst(); x.each([&](int l) { d[l] = 0; }); };
    }
    if (I.ctl == CT_BRANCH || I.ctl == CT_BRANCH_TABLE || I.ctl == CT_EXIT) { I.run = nop; return; }
    if (!I.run) I.run = selectAlu(I);
    if (!I.run) I.run = selectCvt(I);
    if (!I.run) I.run = selectMem(I);
    if (!I.run && (I.run = selectWarp(I)) && op != "activemask") I.ctl = CT_WARPSYNC;
    if (!I.run && (I.run = selectMma(I))) I.ctl = CT_WARPSYNC_ALL;
  } catch (Error& e) { I.run = nullptr; if (I.why.empty()) I.why = e.what(); }
  if (!I.run) { I.run = unsupported; I.ctl = CT_NORMAL; return; }
  bool directed = I.rnd == R_RZ || I.rnd == R_RM || I.rnd == R_RP;
  if (directed && I.op != "cvt" && I.types.size() && (I.types[0].is(K_FLOAT, 32) || I.types[0].is(K_FLOAT, 64) || I.types[0].k == K_F32X2)) {
    I.inner = I.run;
    I.run = runRounded;
  }
}
}  // namespace cuda_emulator
