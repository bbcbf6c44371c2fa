#include "instructions/handlers.h"
#include "instructions/values.h"

namespace cuda_emulator {
namespace {

template <bool IsMax, bool PropagateNan>
struct MinMax {
    template <class V>
    V operator()(V x, V y) const {
        if constexpr (std::is_floating_point_v<V>) {
            return min_max(x, y, IsMax, PropagateNan);
        } else {
            return (x < y) != IsMax ? x : y;
        }
    }
};

/// .xorsign.abs: compares magnitudes; the sign of the result is the product of the signs.
template <bool IsMax, bool PropagateNan>
struct MinMaxXorSign {
    template <class V>
    V operator()(V x, V y) const {
        if constexpr (std::is_floating_point_v<V>) {
            const V result = min_max(std::fabs(x), std::fabs(y), IsMax, PropagateNan);
            return std::signbit(x) != std::signbit(y) ? -result : result;
        } else {
            return x;
        }
    }
};

inline u64 bits_or_nan(float value) {
    return value != value ? kFloatNan : f32_bits(value);
}

/// For float, which has a canonical NaN.
template <class Operation>
void of_floats(Execution &x) {
    const bool flushes = x.instruction->flush;
    map2(x, x.instruction->types.back(), [&](u64 a, u64 b) {
        const float p = f32_value(a), q = f32_value(b);
        return bits_or_nan(flushes ? Operation()(flush(p), flush(q)) : Operation()(p, q));
    });
}

template <bool IsMax>
void of_three_floats(Execution &x) {
    const bool propagate_nan = x.instruction->propagate_nan, magnitudes = x.instruction->has("abs");
    const auto value = [&](u64 bits) { return magnitudes ? std::fabs(f32_value(bits)) : f32_value(bits); };
    map3(x, x.instruction->types.back(), [&](u64 a, u64 b, u64 c) {
        const float first = min_max(value(a), value(b), IsMax, propagate_nan);
        return bits_or_nan(min_max(first, value(c), IsMax, propagate_nan));
    });
}

/// With .relu, for integers too.
template <class Operation>
struct Of {
    template <Value V>
    struct For {
        static void run(Execution &x) {
            const bool clips = x.instruction->relu;
            const auto operation = [=](auto a, auto b) {
                const auto result = Operation()(a, b);
                if constexpr (std::is_floating_point_v<decltype(a)>) {
                    return clips ? relu(result) : result;
                } else {
                    return clips && static_cast<s64>(result) < 0 ? decltype(a)(0) : result;
                }
            };
            map2(x, x.instruction->types.back(), [&](u64 a, u64 b) { return apply<V>(operation, a, b); });
        }
    };
};

template <class Operation>
Handler select(Type type) {
    return type.is_f32() ? of_floats<Operation> : for_all_values<Of<Operation>::template For>(type);
}

template <bool IsMax>
Handler select(const Instruction &instruction) {
    const Type type = instruction.type();
    const bool xor_sign = instruction.has("xorsign");
    if (instruction.operands.size() == 4) {
        return type.is_f32() && !xor_sign ? of_three_floats<IsMax> : nullptr;
    }
    if (instruction.operands.size() != 3) {
        return nullptr;
    }
    if (xor_sign) {
        return instruction.propagate_nan ? select<MinMaxXorSign<IsMax, true>>(type)
                                         : select<MinMaxXorSign<IsMax, false>>(type);
    }
    return instruction.propagate_nan ? select<MinMax<IsMax, true>>(type) : select<MinMax<IsMax, false>>(type);
}

}  // namespace

Handler select_min_max(Instruction &instruction) {
    if (instruction.opcode == "min") {
        return select<false>(instruction);
    }
    return instruction.opcode == "max" ? select<true>(instruction) : nullptr;
}

}  // namespace cuda_emulator
