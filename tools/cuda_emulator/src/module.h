// Program representation: a parsed PTX module, its functions and decoded instructions.
#pragma once
#include "base.h"
#include <map>
#include <memory>

namespace cuda_emulator {

enum OperandKind { OP_NONE, OP_REG, OP_IMM, OP_SREG, OP_SYM, OP_LOCAL, OP_VEC, OP_MEM };

// Special registers. The three-component ones occupy three consecutive values (x, y, z).
enum SpecialReg { SR_TID, SR_NTID = SR_TID + 3, SR_CTAID = SR_NTID + 3, SR_NCTAID = SR_CTAID + 3,
                  SR_LANEID = SR_NCTAID + 3, SR_WARPID, SR_NWARPID, SR_LM_EQ, SR_LM_LT, SR_LM_LE, SR_LM_GT, SR_LM_GE,
                  SR_DYN_SMEM, SR_TOTAL_SMEM, SR_CLOCK, SR_ENVREG, SR_WARPSZ, SR_ZERO, SR_ONE };

struct Operand {
  OperandKind kind = OP_NONE;
  int reg = -1;               // register row, or SpecialReg
  u64 imm = 0;                // immediate bits / resolved address
  bool isFloat = false;       // literal written as a float
  int floatBits = 0;          // 32 for 0fXXXXXXXX, 64 for 0dXXXXXXXX or decimal
  bool neg = false;           // !p or -r
  string sym;                 // unresolved symbol
  s64 off = 0;                // byte offset of [base+off] or symbol+off
  vector<Operand> sub;        // vector elements, memory base, or second destination of "p|q"
  std::shared_ptr<vector<u64>> splat;   // the immediate repeated for 32 lanes
  void setImm(u64 v) { kind = OP_IMM; imm = v; splat = std::make_shared<vector<u64>>(32, v); }
};

enum Space { SP_GENERIC, SP_GLOBAL, SP_SHARED, SP_LOCAL, SP_PARAM, SP_CONST };

struct Exec;                                  // execution context, exec.h
typedef void (*Handler)(Exec&);

// How the scheduler has to treat an instruction.
enum Control { CT_NORMAL, CT_BRANCH, CT_BRANCH_TABLE, CT_EXIT, CT_BARRIER, CT_WARPSYNC, CT_WARPSYNC_ALL };

struct Inst {
  string op;                  // first part of the mnemonic
  vector<string> mods;        // the rest, split at the dots
  vector<Type> types;         // those of mods that are types
  vector<Operand> o;
  string text;
  int line = 0, srcFile = 0, srcLine = 0;
  int pred = -1;              // guard predicate register row
  bool predNeg = false;
  Handler run = nullptr;      // executes the instruction for the active lanes
  Handler inner = nullptr;    // the wrapped handler when `run` only adjusts the rounding mode
  Control ctl = CT_NORMAL;
  int target = -1;            // branch target (instruction index)
  vector<int> table;          // brx.idx targets
  string why;                 // reason, when unsupported
  // predecoded modifiers
  Space space = SP_GENERIC;
  int sub = 0;                // meaning depends on the instruction (atomic op, shuffle mode, compare op ...)
  bool sat = false, relu = false, nan = false, hi = false, wide = false;
  Round rnd = R_NONE;
  u8 cls = 0;                 // InstClass, for statistics
  // calls
  string callee;
  vector<string> callRet, callArgs;
  bool callParam = false;     // ld/st.param of a call argument, kept in local memory after inlining
  bool has(const char* m) const { for (auto& s : mods) if (s == m) return true; return false; }
  Type type(size_t i = 0) const;          // throws when absent
  Type lastType() const;
};

struct Var {
  string name, space;
  int size = 0, align = 1;
  vector<u8> init;
  bool isExtern = false;
};

struct Function {
  string name;
  vector<Var> params, ret, vars;
  bool entry = true, inlined = false, linked = false;
  vector<Inst> code;
  std::map<string, int> labels;
  vector<u8> regWidth;        // width in bits of each register row (a .b128 register takes two rows)
  int nreg = 0;
  u32 maxThreads = 0;         // .maxntid / .reqntid product, 0 if absent
  bool usesEnvreg = false;    // reads %envreg (grid-wide cooperative synchronisation)
  // filled by link()
  u32 staticShared = 0, localSize = 0, paramSize = 0;
  vector<u32> paramOffset;
  int numParams() const { return (int)params.size(); }
};

struct Module {
  std::map<string, Function> functions;
  vector<Var> vars;
  std::map<string, vector<string>> branchTables;
  std::map<string, u64> globals;          // name -> address of .global/.const variables
  std::map<int, string> files;            // .file table, for source positions
  struct Reloc { string var; int off; string target; };
  vector<Reloc> relocs;                   // addresses inside initialisers
};

// Parse PTX text. Unsupported instructions do not fail here; they raise when executed.
std::unique_ptr<Module> parseModule(const string& ptx);
// Choose the handler and predecode the modifiers of one instruction (decode.cpp).
void decode(Inst& I, const Function& F);
bool supported(const Inst& I);
// Lay out shared/local/parameter space and resolve symbols; done once per kernel.
void link(Module& M, Function& F);
// "kernel 'k', PTX line 12 (file.cu:34): text"
string position(const Module& M, const Function& F, const Inst& I);
}  // namespace cuda_emulator
