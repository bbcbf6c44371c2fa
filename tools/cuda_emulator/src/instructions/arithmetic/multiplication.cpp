#include "instructions/handlers.h"
#include "instructions/values.h"

// mul, mad and mul24 of integers; fma, and mad of floating point, which is the same.

namespace cuda_emulator {
namespace {

using s128 = __int128;
using u128 = unsigned __int128;

/// .lo, .hi and .wide for any width.
void multiply_integers(Execution &x) {
    const Instruction &instruction = *x.instruction;
    const Type type = instruction.type();
    const bool adds = instruction.operands.size() > 3, high = instruction.high, saturates = instruction.saturate;
    const int result_bits = instruction.wide ? 2 * type.bits : type.bits;
    const auto product = [&](u64 a, u64 b) {
        if (type.is_signed()) {
            const s128 exact = static_cast<s128>(static_cast<s64>(extend(a, type))) * static_cast<s64>(extend(b, type));
            return static_cast<u64>(high ? exact >> type.bits : exact);
        }
        const u128 exact = static_cast<u128>(mask_to(a, type.bits)) * mask_to(b, type.bits);
        return static_cast<u64>(high ? exact >> type.bits : exact);
    };
    if (!adds) {
        map2(x, type, [&](u64 a, u64 b) { return mask_to(product(a, b), result_bits); });
        return;
    }
    map3(x, type, [&](u64 a, u64 b, u64 c) -> u64 {
        if (saturates && type.is_signed()) {
            const s64 sum = static_cast<s64>(static_cast<s32>(product(a, b))) + static_cast<s32>(c);
            return static_cast<u32>(std::clamp<s64>(sum, INT32_MIN, INT32_MAX));
        }
        return mask_to(product(a, b) + c, result_bits);
    });
}

// Faster versions for the common 32-bit types.
void multiply_low(Execution &x) {
    map2(x, kBits64, [](u64 a, u64 b) -> u64 { return static_cast<u32>(a) * static_cast<u32>(b); });
}

void multiply_low_add(Execution &x) {
    map3(x, kBits64,
         [](u64 a, u64 b, u64 c) -> u64 { return static_cast<u32>(a) * static_cast<u32>(b) + static_cast<u32>(c); });
}

template <bool IsSigned>
inline u64 wide_product(u64 a, u64 b) {
    if (IsSigned) {
        return static_cast<u64>(static_cast<s64>(static_cast<s32>(a)) * static_cast<s32>(b));
    }
    return static_cast<u64>(static_cast<u32>(a)) * static_cast<u32>(b);
}

template <bool IsSigned>
void multiply_wide(Execution &x) {
    map2(x, kBits64, wide_product<IsSigned>);
}

template <bool IsSigned>
void multiply_wide_add(Execution &x) {
    map3(x, kBits64, [](u64 a, u64 b, u64 c) { return wide_product<IsSigned>(a, b) + c; });
}

/// Products of the lowest 24 bits: mul24.lo returns bits 0 to 31, mul24.hi bits 16 to 47.
void multiply_24(Execution &x) {
    const bool high = x.instruction->high;
    const Type type = {x.instruction->type().kind, 24};
    const auto product = [&](u64 a, u64 b) -> u64 { return extend(a, type) * extend(b, type) >> (high ? 16 : 0); };
    if (x.instruction->opcode == "mul24") {
        map2(x, kBits64, [&](u64 a, u64 b) { return mask_to(product(a, b), 32); });
    } else {
        map3(x, kBits64, [&](u64 a, u64 b, u64 c) { return mask_to(product(a, b) + c, 32); });
    }
}

/// .sat and .relu
struct Modifiers {
    bool saturates, clips;

    double operator()(double value) const {
        value = saturates ? saturate(value) : value;
        return clips ? relu(value) : value;
    }
};

/// Products of halves are exact in double, and so are their sums.
template <class Finish>
inline u16 fma_of_halves(u16 a, u16 b, u16 c, Finish finish) {
    return half_bits(finish(static_cast<double>(half_value(a)) * half_value(b) + half_value(c)));
}

template <class Finish>
inline u16 fma_of_bf16(u16 a, u16 b, u16 c, Finish finish) {
    const double product = static_cast<double>(bf16_value(a)) * bf16_value(b);
    return bf16_bits(round_to_odd(finish(sum_to_odd(product, bf16_value(c)))));
}

template <Value V, class Finish>
void multiply_add(Execution &x, Finish finish) {
    map3(x, x.instruction->type(), [&](u64 a, u64 b, u64 c) -> u64 {
        if constexpr (V == Value::kF16) {
            return fma_of_halves(a, b, c, finish);
        } else if constexpr (V == Value::kBf16) {
            return fma_of_bf16(a, b, c, finish);
        } else if constexpr (V == Value::kF16X2) {
            return for_halves([&](u16 p, u16 q, u16 r) { return fma_of_halves(p, q, r, finish); }, a, b, c);
        } else if constexpr (V == Value::kBf16X2) {
            return for_halves([&](u16 p, u16 q, u16 r) { return fma_of_bf16(p, q, r, finish); }, a, b, c);
        } else {
            return apply<V>([](auto p, auto q, auto r) { return std::fma(p, q, r); }, a, b, c);
        }
    });
}

template <Value V>
struct FusedMultiplyAdd {
    static void run(Execution &x) {
        const Modifiers modifiers = {x.instruction->saturate, x.instruction->relu};
        if (modifiers.saturates || modifiers.clips) {
            multiply_add<V>(x, modifiers);
        } else {
            multiply_add<V>(x, [](double value) { return value; });
        }
    }
};

void modified_float_fma(Execution &x) {
    const bool flushes = x.instruction->flush, saturates = x.instruction->saturate;
    map3(x, x.instruction->type(), [&](u64 a, u64 b, u64 c) {
        const float p = f32_value(a), q = f32_value(b), r = f32_value(c);
        const float result = flushes ? flush(std::fma(flush(p), flush(q), flush(r))) : std::fma(p, q, r);
        return f32_bits(saturates ? saturate(result) : result);
    });
}

Handler select_fma(const Instruction &instruction) {
    const Type type = instruction.type();
    switch (value_of(type)) {
        case Value::kF32:
            return instruction.saturate || instruction.flush ? modified_float_fma : FusedMultiplyAdd<Value::kF32>::run;
        case Value::kF16X2:
            return FusedMultiplyAdd<Value::kF16X2>::run;
        case Value::kBf16X2:
            return FusedMultiplyAdd<Value::kBf16X2>::run;
        case Value::kF32X2:
            return FusedMultiplyAdd<Value::kF32X2>::run;
        default:
            return for_floats<FusedMultiplyAdd>(type);
    }
}

Handler select_integer(const Instruction &instruction) {
    const Type type = instruction.type();
    const bool adds = instruction.opcode == "mad";
    if (!is_integer(value_of(type))) {
        return nullptr;
    }
    if (type.bits != 32 || instruction.saturate || instruction.high) {
        return multiply_integers;
    }
    if (!instruction.wide) {
        return adds ? multiply_low_add : multiply_low;
    }
    if (type.is_signed()) {
        return adds ? multiply_wide_add<true> : multiply_wide<true>;
    }
    return adds ? multiply_wide_add<false> : multiply_wide<false>;
}

}  // namespace

Handler select_multiplication(Instruction &instruction) {
    const std::string &opcode = instruction.opcode;
    if (opcode == "mul24" || opcode == "mad24") {
        return multiply_24;
    }
    if (opcode != "mul" && opcode != "mad" && opcode != "fma") {
        return nullptr;
    }
    if (is_floating(value_of(instruction.type()))) {
        return opcode == "mul" ? nullptr : select_fma(instruction);
    }
    return select_integer(instruction);
}

}  // namespace cuda_emulator
