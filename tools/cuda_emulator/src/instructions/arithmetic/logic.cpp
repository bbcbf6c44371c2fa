#include "instructions/handlers.h"
#include "instructions/values.h"

// Bitwise logic, shifts, neg and abs.

namespace cuda_emulator {
namespace {

template <class Operation>
void binary(Execution &x) {
    const Type type = x.instruction->type();
    const u64 mask = mask_to(~u64(0), type.bits);
    map2(x, type, [&](u64 a, u64 b) { return Operation()(a, b) & mask; });
}

void bitwise_not(Execution &x) {
    const Type type = x.instruction->type();
    map(x, type, [&](u64 a) { return type.kind == Kind::kPredicate ? u64(!a) : mask_to(~a, type.bits); });
}

void logical_not(Execution &x) {
    const Type type = x.instruction->type();
    map(x, type, [&](u64 a) -> u64 { return mask_to(a, type.bits) == 0; });
}

void shift_left(Execution &x) {
    const Type type = x.instruction->type();
    map2(x, kBits64, [&](u64 a, u64 b) {
        const u32 count = static_cast<u32>(b);
        return count >= static_cast<u32>(type.bits) ? 0 : mask_to(a << count, type.bits);
    });
}

void shift_right(Execution &x) {
    const Type type = x.instruction->type();
    if (type.is_signed()) {
        map2(x, kBits64, [&](u64 a, u64 b) {
            const u32 count = std::min<u32>(static_cast<u32>(b), 63);
            return mask_to(static_cast<u64>(static_cast<s64>(extend(a, type)) >> count), type.bits);
        });
    } else {
        map2(x, kBits64, [&](u64 a, u64 b) {
            const u32 count = static_cast<u32>(b);
            return count >= static_cast<u32>(type.bits) ? 0 : mask_to(a, type.bits) >> count;
        });
    }
}

/// Shifts two registers as one.
void funnel_shift(Execution &x) {
    const bool left = x.instruction->has("l"), clamp = x.instruction->has("clamp");
    map3(x, kBits64, [&](u64 low, u64 high, u64 by) -> u64 {
        const u32 count = clamp ? std::min<u32>(static_cast<u32>(by), 32) : by & 31;
        const u64 both = high << 32 | static_cast<u32>(low);
        if (left) {
            return static_cast<u32>(count == 32 ? both : (both << count) >> 32);
        }
        return static_cast<u32>(both >> count);
    });
}

/// lop3, any function of three bits: its value is bit abc of the table.
void lop3(Execution &x) {
    const u32 table = static_cast<u32>(x.instruction->operands[4].immediate);
    map3(x, kBits64, [&](u64 a64, u64 b64, u64 c64) -> u64 {
        const u32 a = static_cast<u32>(a64), b = static_cast<u32>(b64), c = static_cast<u32>(c64);
        u32 result = 0;
        for (u32 i = 0; i < 8; i++) {
            const u32 row = 0 - (table >> i & 1);
            result |= row & (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
        }
        return result;
    });
}

/// neg and abs; for floating point they change the sign bit, also that of NaN.
template <bool IsNegation>
void change_sign(Execution &x) {
    const Type type = x.instruction->type();
    const bool flushes = x.instruction->flush && type.is_f32();
    const u64 both_signs = 0x80008000, sign = u64(1) << (type.bits - 1);
    const auto of_float = [](u64 value, u64 signs) { return IsNegation ? value ^ signs : value & ~signs; };
    map(x, type, [&](u64 a) {
        switch (type.kind) {
            case Kind::kFloat:
            case Kind::kBfloat16:
                return of_float(flushes ? f32_bits(flush(f32_value(a))) : a, sign);
            case Kind::kHalfX2:
            case Kind::kBfloat16X2:
                return mask_to(of_float(a, both_signs), 32);
            default:
                const u64 value = extend(a, type);
                return mask_to(IsNegation || static_cast<s64>(value) < 0 ? 0 - value : value, type.bits);
        }
    });
}

/// copysign: the second operand with the sign of the first.
void copy_sign(Execution &x) {
    const Type type = x.instruction->type();
    const u64 sign = u64(1) << (type.bits - 1);
    map2(x, type, [&](u64 a, u64 b) { return (b & ~sign) | (a & sign); });
}

}  // namespace

Handler select_logic(Instruction &instruction) {
    static const std::map<std::string, Handler> handlers = {
        {"and", binary<std::bit_and<u64>>},
        {"or", binary<std::bit_or<u64>>},
        {"xor", binary<std::bit_xor<u64>>},
        {"not", bitwise_not},
        {"cnot", logical_not},
        {"shl", shift_left},
        {"shr", shift_right},
        {"shf", funnel_shift},
        {"neg", change_sign<true>},
        {"abs", change_sign<false>},
        {"copysign", copy_sign},
    };
    if (instruction.opcode == "lop3") {
        return instruction.operands.size() == 5 && !instruction.has("BoolOp") ? lop3 : nullptr;
    }
    const auto found = handlers.find(instruction.opcode);
    return found == handlers.end() ? nullptr : found->second;
}

}  // namespace cuda_emulator
