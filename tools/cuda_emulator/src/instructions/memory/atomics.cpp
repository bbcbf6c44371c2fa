#include "instructions/handlers.h"
#include "instructions/memory/addresses.h"
#include "instructions/memory/atomic_operation.h"
#include "instructions/values.h"

namespace cuda_emulator {
namespace {

/// Applies a function of two floats, or of two integers, to the elements of a type.
template <class Function>
u64 apply_to(Type type, Function function, u64 a, u64 b) {
    switch (value_of(type)) {
        case Value::kF32:
            return apply<Value::kF32>(function, a, b);
        case Value::kF64:
            return apply<Value::kF64>(function, a, b);
        case Value::kF16:
            return apply<Value::kF16>(function, a, b);
        case Value::kF16X2:
            return apply<Value::kF16X2>(function, a, b);
        case Value::kBf16:
            return apply<Value::kBf16>(function, a, b);
        case Value::kBf16X2:
            return apply<Value::kBf16X2>(function, a, b);
        default:
            if (type.is_signed()) {
                return static_cast<u64>(function(static_cast<s64>(extend(a, type)), static_cast<s64>(extend(b, type))));
            }
            return function(mask_to(a, type.bits), mask_to(b, type.bits));
    }
}

u64 add(Type type, u64 a, u64 b) {
    return apply_to(
        type,
        [](auto x, auto y) {
            if constexpr (std::is_integral_v<decltype(x)>) {
                return static_cast<decltype(x)>(static_cast<u64>(x) + static_cast<u64>(y));
            } else {
                return x + y;
            }
        },
        a, b);
}

u64 extreme(Type type, bool is_max, u64 a, u64 b) {
    return apply_to(
        type,
        [is_max](auto x, auto y) {
            if constexpr (std::is_integral_v<decltype(x)>) {
                return (x < y) == is_max ? y : x;
            } else {
                return min_max(x, y, is_max, false);
            }
        },
        a, b);
}

}  // namespace

AtomicOperation atomic_operation_of(const Instruction &instruction) {
    static const std::map<std::string, AtomicOperation> operations = {
        {"add", kAtomicAdd},       {"min", kAtomicMin},
        {"max", kAtomicMax},       {"and", kAtomicAnd},
        {"or", kAtomicOr},         {"xor", kAtomicXor},
        {"inc", kAtomicIncrement}, {"dec", kAtomicDecrement},
        {"exch", kAtomicExchange}, {"cas", kAtomicCompareAndSwap},
    };
    for (const std::string &modifier : instruction.modifiers) {
        const auto found = operations.find(modifier);
        if (found != operations.end()) {
            return found->second;
        }
    }
    return kNoAtomicOperation;
}

u64 apply_atomic(int operation, Type type, u64 old, u64 operand, u64 swap) {
    const u32 old32 = static_cast<u32>(old), limit = static_cast<u32>(operand);
    switch (operation) {
        case kAtomicAdd:
            return add(type, old, operand);
        case kAtomicMin:
        case kAtomicMax:
            return extreme(type, operation == kAtomicMax, old, operand);
        case kAtomicAnd:
            return old & operand;
        case kAtomicOr:
            return old | operand;
        case kAtomicXor:
            return old ^ operand;
        case kAtomicExchange:
            return operand;
        case kAtomicCompareAndSwap:
            return mask_to(old, type.bits) == mask_to(operand, type.bits) ? swap : old;
        case kAtomicIncrement:
            return old32 >= limit ? 0 : old32 + 1;
        case kAtomicDecrement:
            return old32 == 0 || old32 > limit ? limit : old32 - 1;
        default:
            throw Error("unknown atomic operation");
    }
}

namespace {

/// For one element and for vectors (.v2 ...). red has no destination; atom returns the old value.
void update(Execution &x) {
    const Instruction &instruction = *x.instruction;
    const Type type = instruction.types.back();
    const u32 bytes = type.bytes();
    const int first = instruction.opcode == "red" ? 0 : 1;
    const Operand &operand = instruction.operands[first + 1];
    const bool is_vector = operand.is(OperandKind::kVector);
    const int count = is_vector ? static_cast<int>(operand.parts.size()) : 1;
    const auto element = [&](const Operand &of, int i) -> const Operand & { return is_vector ? of.parts[i] : of; };

    const u64 *addresses = addresses_of(x, instruction.operands[first]);
    x.count_atomics(addresses);
    // A copy, because the destination may be one of the sources.
    u64 values[8][kWarp], swaps[kWarp] = {};
    for (int i = 0; i < count; i++) {
        std::memcpy(values[i], x.source(element(operand, i), type), sizeof(values[i]));
    }
    if (instruction.mode == kAtomicCompareAndSwap) {
        std::memcpy(swaps, x.source(first + 2, type), sizeof(swaps));
    }
    x.each([&](int lane) {
        x.check_alignment(addresses[lane], bytes * count, lane);
        for (int i = 0; i < count; i++) {
            const u64 address = addresses[lane] + i * bytes;
            x.check_atomic(address, bytes, lane);
            const u64 old = x.load(address, bytes, lane);
            x.store(address, apply_atomic(instruction.mode, type, old, values[i][lane], swaps[lane]), bytes, lane);
            if (first == 1) {
                x.destination(element(instruction.operands[0], i))[lane] = old;
            }
        }
    });
}

}  // namespace

Handler select_atomic(Instruction &instruction) {
    if (instruction.opcode != "atom" && instruction.opcode != "red") {
        return nullptr;
    }
    instruction.mode = atomic_operation_of(instruction);
    const size_t operands = instruction.opcode == "red" ? 2 : 3;
    const bool supported = instruction.mode != kNoAtomicOperation && !instruction.has("async") &&
                           instruction.last_type().bits != 128 && instruction.operands.size() >= operands;
    return supported ? update : nullptr;
}

}  // namespace cuda_emulator
