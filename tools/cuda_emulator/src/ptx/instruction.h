#pragma once
#include <memory>
#include <string>
#include <vector>

#include "numbers/float_formats.h"
#include "numbers/type.h"

namespace cuda_emulator {

enum class OperandKind {
    kNone,
    kRegister,
    kImmediate,
    kSpecialRegister,
    kSymbol,
    kLocal,   ///< an offset in the thread's local memory
    kVector,  ///< {a, b, c, d}
    kMemory,  ///< [a + offset]
};

/// Registers with three components have three consecutive numbers.
enum SpecialRegister {
    kThreadIndex,
    kBlockSize = kThreadIndex + 3,
    kBlockIndex = kBlockSize + 3,
    kGridSize = kBlockIndex + 3,
    kLane = kGridSize + 3,
    kWarpIndex,
    kWarpCount,
    kLaneMaskEqual,
    kLaneMaskBelow,
    kLaneMaskUpTo,
    kLaneMaskAbove,
    kLaneMaskFrom,
    kDynamicSharedBytes,
    kTotalSharedBytes,
    kClock,
    kEnvironment,
    kWarpSize,
    kZero,
    kOne,
};

struct Operand {
    OperandKind kind = OperandKind::kNone;
    int reg = -1;                             ///< register row, or a SpecialRegister
    u64 immediate = 0;                        ///< bits; after linking, an address
    bool is_float = false;                    ///< a floating-point literal
    int float_bits = 0;                       ///< 32 for 0fXXXXXXXX, else 64
    bool negated = false;                     ///< !p or -r
    std::string symbol;                       ///< empty after linking
    s64 offset = 0;                           ///< bytes, of [a + offset] and symbol + offset
    std::vector<Operand> parts;               ///< elements, the base of an address, or q of "p|q"
    std::shared_ptr<std::vector<u64>> lanes;  ///< the immediate, repeated for each lane

    bool is(OperandKind other) const { return kind == other; }
    void set_immediate(u64 bits) {
        kind = OperandKind::kImmediate;
        immediate = bits;
        lanes = std::make_shared<std::vector<u64>>(32, bits);
    }
};

enum class Space { kGeneric, kGlobal, kShared, kLocal, kParameter, kConstant };

/// How the scheduler treats an instruction.
enum class Control {
    kNone,
    kBranch,
    kBranchTable,
    kExit,
    kBarrier,
    kWarpSync,      ///< waits for the lanes of the mask that is its last operand
    kFullWarpSync,  ///< waits for all lanes
};

/// Kinds of arithmetic, for statistics.
enum InstructionClass { kOtherClass, kIntegerClass, kHalfClass, kFloatClass, kDoubleClass, kSpecialFunctionClass };
constexpr int kInstructionClasses = 6;

struct Execution;
using Handler = void (*)(Execution &);

struct Instruction {
    // The members that the scheduler reads each time come first.
    Handler run = nullptr;  ///< computes the result for the active lanes; set by decode(), like those below
    Control control = Control::kNone;
    InstructionClass statistics_class = kOtherClass;
    int guard = -1;  ///< row of the predicate of "@p"
    bool guard_negated = false;
    int target = -1;  ///< of a branch: index into the code

    Space space = Space::kGeneric;
    int mode = 0;  ///< its meaning depends on the instruction: comparison, atomic operation, shuffle ...
    bool saturate = false, relu = false, propagate_nan = false, high = false, wide = false, flush = false;
    Rounding rounding = Rounding::kNone;
    bool strong = false, releases = false, acquires = false;  ///< of accesses to memory, and of fences
    Handler inner = nullptr;  ///< called by `run`, with the host's rounding mode set or fences
    std::string refusal;      ///< why it is not supported, if known

    std::string opcode;                  ///< text before the first point
    std::vector<std::string> modifiers;  ///< text between points
    std::vector<Type> types;             ///< the modifiers that are types
    std::vector<Operand> operands;
    std::vector<int> targets;  ///< of brx.idx
    std::string text;
    int line = 0, source_file = 0, source_line = 0;

    std::string callee;
    std::vector<std::string> call_results, call_arguments;
    bool is_call_argument = false;  ///< ld.param or st.param of a call; its arguments are in local memory

    bool has(const char *modifier) const {
        for (const std::string &each : modifiers) {
            if (each == modifier) {
                return true;
            }
        }
        return false;
    }
    /// Throws Error if there is none.
    Type type(size_t index = 0) const {
        if (types.size() <= index) {
            throw Error("no type in instruction");
        }
        return types[index];
    }
    Type last_type() const { return type(types.empty() ? 0 : types.size() - 1); }
};

}  // namespace cuda_emulator
