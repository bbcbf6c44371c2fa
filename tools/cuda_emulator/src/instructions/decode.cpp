#include <cfenv>
#include <set>

#include "instructions/handlers.h"

namespace cuda_emulator {
namespace {

void unsupported(Execution &x) {
    const std::string &reason = x.instruction->refusal;
    x.fault(x.first_lane(), "unsupported PTX instruction" + (reason.empty() ? "" : " (" + reason + ")"));
}

/// A fence among the threads of a block has no effect: they see each other's stores at once.
void fence(Execution &x) {
    if (x.block.statistics) {
        x.block.statistics->fences++;
    }
    if (x.instruction->releases) {
        x.release();
    }
    if (x.instruction->acquires) {
        x.acquire();
    }
}

void run_ordered(Execution &x) {
    if (x.instruction->releases) {
        x.release();
    }
    x.instruction->inner(x);
    if (x.instruction->acquires) {
        x.acquire();
    }
}

void wait_for_kernel_before(Execution &x) {
    x.warp.waited |= x.active;
    dependence.waited = true;
}

/// Sets the host's rounding mode. The handler is called through its address, so that the compiler cannot move it.
void run_rounded(Execution &x) {
    const Rounding rounding = x.instruction->rounding;
    std::fesetround(rounding == Rounding::kTowardsZero ? FE_TOWARDZERO
                    : rounding == Rounding::kDown      ? FE_DOWNWARD
                                                       : FE_UPWARD);
    x.instruction->inner(x);
    std::fesetround(FE_TONEAREST);
}

bool needs_host_rounding(const Instruction &instruction) {
    const bool directed = instruction.rounding == Rounding::kTowardsZero || instruction.rounding == Rounding::kDown ||
                          instruction.rounding == Rounding::kUp;
    if (!directed || instruction.opcode == "cvt" || instruction.types.empty()) {
        return false;
    }
    const Type type = instruction.types[0];
    return type.is_f32() || type.is_f64() || type.kind == Kind::kFloat32X2;
}

/// The memory order of an access or a fence. Those among the threads of a block order nothing between blocks.
void read_order(Instruction &instruction) {
    const std::string &opcode = instruction.opcode;
    const auto has = [&](const char *modifier) { return instruction.has(modifier); };
    const bool is_fence = opcode == "membar" || opcode == "fence", is_atomic = opcode == "atom" || opcode == "red";
    const bool loads = opcode == "ld" || is_atomic, stores = opcode == "st" || is_atomic;
    if ((is_fence || loads || stores) && !has("cta")) {
        const bool both = has("acq_rel") || has("sc") || opcode == "membar";
        instruction.acquires = (is_fence || loads) && (both || has("acquire"));
        instruction.releases = (is_fence || stores) && (both || has("release"));
    }
    instruction.strong =
        is_atomic ||
        ((loads || stores) && (has("volatile") || has("relaxed") || has("acquire") || has("release") || has("mmio")));
}

void read_modifiers(Instruction &instruction) {
    static const std::map<std::string, Rounding> roundings = {
        {"rn", Rounding::kNearestEven},  {"rni", Rounding::kNearestEven}, {"rz", Rounding::kTowardsZero},
        {"rzi", Rounding::kTowardsZero}, {"rm", Rounding::kDown},         {"rmi", Rounding::kDown},
        {"rp", Rounding::kUp},           {"rpi", Rounding::kUp},          {"rna", Rounding::kNearestAway},
    };
    // A cluster has one block.
    static const std::map<std::string, Space> spaces = {
        {"global", Space::kGlobal},          {"shared", Space::kShared},         {"shared::cta", Space::kShared},
        {"shared::cluster", Space::kShared}, {"local", Space::kLocal},           {"param", Space::kParameter},
        {"param::entry", Space::kParameter}, {"param::func", Space::kParameter}, {"const", Space::kConstant},
    };
    instruction.saturate = instruction.has("sat") || instruction.has("satfinite");
    instruction.relu = instruction.has("relu");
    instruction.propagate_nan = instruction.has("NaN");
    instruction.high = instruction.has("hi");
    instruction.wide = instruction.has("wide");
    instruction.flush = instruction.has("ftz");
    for (const std::string &modifier : instruction.modifiers) {
        const auto rounding = roundings.find(modifier);
        const auto space = spaces.find(modifier);
        if (rounding != roundings.end()) {
            instruction.rounding = rounding->second;
        } else if (space != spaces.end()) {
            instruction.space = space->second;
        }
    }
}

InstructionClass class_of(const Instruction &instruction) {
    static const std::set<std::string> special = {"sqrt", "rsqrt", "rcp", "ex2", "lg2", "sin", "cos", "tanh"};
    static const std::set<std::string> arithmetic = {
        "add",  "sub",  "mul",  "mad", "fma",  "div",   "rem",  "min",  "max",  "abs",   "neg",   "setp", "set",
        "addc", "subc", "madc", "sad", "and",  "or",    "xor",  "not",  "shl",  "shr",   "shf",   "lop3", "prmt",
        "bfe",  "bfi",  "popc", "clz", "brev", "bfind", "dp4a", "dp2a", "bmsk", "mul24", "mad24",
    };
    if (special.count(instruction.opcode)) {
        return kSpecialFunctionClass;
    }
    if (!arithmetic.count(instruction.opcode)) {
        return kOtherClass;
    }
    const Type type = instruction.types.empty() ? kBits32 : instruction.types.back();
    switch (type.kind) {
        case Kind::kFloat:
            return type.bits == 64 ? kDoubleClass : type.bits == 32 ? kFloatClass : kHalfClass;
        case Kind::kFloat32X2:
            return kFloatClass;
        case Kind::kHalfX2:
        case Kind::kBfloat16:
        case Kind::kBfloat16X2:
            return kHalfClass;
        default:
            return kIntegerClass;
    }
}

/// The scheduler handles branches and barriers; hints have no effect. Null for other instructions.
Handler select_control(Instruction &instruction) {
    static const std::set<std::string> without_effect = {
        "nanosleep", "prefetch", "prefetchu", "pmevent", "discard", "applypriority", "setmaxnreg",
    };
    const std::string &opcode = instruction.opcode;
    if (opcode == "bra") {
        instruction.control = Control::kBranch;
    } else if (opcode == "brx") {
        instruction.control = Control::kBranchTable;
    } else if (opcode == "ret" || opcode == "exit") {
        instruction.control = Control::kExit;
    } else if (opcode == "bar" && instruction.has("warp")) {
        instruction.control = Control::kWarpSync;
    } else if ((opcode == "bar" || opcode == "barrier") && !instruction.has("cluster")) {
        instruction.control = Control::kBarrier;
    } else if ((opcode == "membar" || opcode == "fence") && !instruction.has("tensormap::generic")) {
        return fence;
    } else if (opcode == "griddepcontrol" && instruction.has("wait")) {
        return wait_for_kernel_before;
    } else if (opcode == "griddepcontrol") {
        return no_operation;
    } else if (!without_effect.count(opcode)) {
        return nullptr;
    }
    return no_operation;
}

Handler select(Instruction &instruction) {
    constexpr Handler (*kOfLanes[])(Instruction &) = {
        select_control,
        select_carry,
        select_arithmetic,
        select_multiplication,
        select_min_max,
        select_logic,
        select_bit_field,
        select_byte_operation,
        select_comparison,
        select_elementary,
        select_move,
        select_load_store,
        select_atomic,
        select_async_copy,
        select_address,
        select_device_call,
        select_packed_conversion,
        select_conversion,
    };
    constexpr Handler (*kOfWarps[])(Instruction &) = {select_matrix_product, select_matrix_move, select_wmma};
    for (const auto select : kOfLanes) {
        if (const Handler handler = select(instruction)) {
            return handler;
        }
    }
    if (const Handler handler = select_warp_operation(instruction)) {
        instruction.control = Control::kWarpSync;
        return handler;
    }
    for (const auto select : kOfWarps) {
        if (const Handler handler = select(instruction)) {
            instruction.control = Control::kFullWarpSync;
            return handler;
        }
    }
    return nullptr;
}

}  // namespace

bool is_supported(const Instruction &instruction) {
    return instruction.run != unsupported;
}

void decode(Instruction &instruction) {
    instruction.control = Control::kNone;
    instruction.run = nullptr;
    if (instruction.refusal.empty()) {
        read_modifiers(instruction);
        read_order(instruction);
        instruction.statistics_class = class_of(instruction);
        try {
            instruction.run = select(instruction);
        } catch (const Error &error) {
            instruction.refusal = error.what();
        }
    }
    if (!instruction.run || !instruction.refusal.empty()) {
        instruction.run = unsupported;
        instruction.control = Control::kNone;
    } else if (needs_host_rounding(instruction)) {
        instruction.inner = instruction.run;
        instruction.run = run_rounded;
    } else if (instruction.run != fence && (instruction.releases || instruction.acquires)) {
        instruction.inner = instruction.run;
        instruction.run = run_ordered;
    }
}

}  // namespace cuda_emulator
