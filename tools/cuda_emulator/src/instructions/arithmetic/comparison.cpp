#include "instructions/handlers.h"
#include "instructions/values.h"

// setp and set, which may combine the result with another predicate; selp and slct; testp.

namespace cuda_emulator {
namespace {

enum class Comparison { kEq, kNe, kLt, kLe, kGt, kGe, kEqu, kNeu, kLtu, kLeu, kGtu, kGeu, kNum, kNan };

/// Comparisons that end in "u" are true if a value is NaN, the others false.
template <Comparison C, class V>
inline bool compare(V x, V y) {
    switch (C) {
        case Comparison::kEq:
            return x == y;
        case Comparison::kNe:
            return std::is_floating_point_v<V> ? x < y || x > y : x != y;
        case Comparison::kLt:
            return x < y;
        case Comparison::kLe:
            return x <= y;
        case Comparison::kGt:
            return x > y;
        case Comparison::kGe:
            return x >= y;
        case Comparison::kEqu:
            return !(x < y || x > y);
        case Comparison::kNeu:
            return x != y;
        case Comparison::kLtu:
            return !(x >= y);
        case Comparison::kLeu:
            return !(x > y);
        case Comparison::kGtu:
            return !(x <= y);
        case Comparison::kGeu:
            return !(x < y);
        case Comparison::kNum:
            return x == x && y == y;
        case Comparison::kNan:
            return x != x || y != y;
    }
}

template <Value V, Comparison C>
inline bool compare_bits(u64 x, u64 y) {
    if constexpr (V == Value::kF32) {
        return compare<C>(f32_value(x), f32_value(y));
    } else if constexpr (V == Value::kF64) {
        return compare<C>(f64_value(x), f64_value(y));
    } else if constexpr (V == Value::kF16) {
        return compare<C>(half_value(static_cast<u16>(x)), half_value(static_cast<u16>(y)));
    } else if constexpr (V == Value::kBf16) {
        return compare<C>(bf16_value(static_cast<u16>(x)), bf16_value(static_cast<u16>(y)));
    } else if constexpr (V == Value::kS16) {
        return compare<C>(static_cast<s16>(x), static_cast<s16>(y));
    } else if constexpr (V == Value::kS32) {
        return compare<C>(static_cast<s32>(x), static_cast<s32>(y));
    } else if constexpr (V == Value::kS64) {
        return compare<C>(static_cast<s64>(x), static_cast<s64>(y));
    } else if constexpr (V == Value::kU16) {
        return compare<C>(static_cast<u16>(x), static_cast<u16>(y));
    } else if constexpr (V == Value::kU32) {
        return compare<C>(static_cast<u32>(x), static_cast<u32>(y));
    } else {
        return compare<C>(x, y);
    }
}

/// The instruction's mode: how the result is combined with the last operand, a predicate.
enum Combination { kAlone, kAnd, kOr, kXor };

Combination combination_of(const Instruction &instruction) {
    if (instruction.modifiers.size() < 2) {
        return kAlone;
    }
    const std::string &name = instruction.modifiers[1];
    return name == "and" ? kAnd : name == "or" ? kOr : name == "xor" ? kXor : kAlone;
}

inline bool combine(int how, bool result, bool predicate) {
    switch (how) {
        case kAnd:
            return result && predicate;
        case kOr:
            return result || predicate;
        case kXor:
            return result != predicate;
        default:
            return result;
    }
}

/// The predicate to combine with, null if there is none.
const u64 *combined_with(Execution &x) {
    return x.instruction->mode == kAlone ? nullptr : x.source(3, kPredicate);
}

template <Comparison C>
struct SetPredicate {
    template <Value V>
    struct For {
        static void run(Execution &x) {
            const Type type = x.instruction->types.back();
            const int how = x.instruction->mode;
            u64 *second = x.second_destination();
            if (how == kAlone && !second) {
                map2(x, type, [](u64 a, u64 b) -> u64 { return compare_bits<V, C>(a, b); });
                return;
            }
            u64 *first = x.destination();
            const u64 *a = x.source(1, type), *b = x.source(2, type), *predicate = combined_with(x);
            x.each([&](int lane) {
                const bool result = compare_bits<V, C>(a[lane], b[lane]), other = predicate && predicate[lane];
                first[lane] = combine(how, result, other);
                if (second) {
                    second[lane] = combine(how, !result, other);
                }
            });
        }
    };
};

/// The value for true: 1.0 in a floating-point type, else all ones.
u64 true_value(Type type) {
    switch (type.kind) {
        case Kind::kFloat:
            return type.bits == 32 ? f32_bits(1) : half_bits(1.f);
        case Kind::kHalfX2:
            return half_bits(1.f);
        case Kind::kBfloat16:
        case Kind::kBfloat16X2:
            return bf16_bits(1);
        default:
            return mask_to(~u64(0), type.bits);
    }
}

template <Comparison C>
struct SetValue {
    template <Value V>
    struct For {
        static void run(Execution &x) {
            const std::vector<Type> &types = x.instruction->types;
            const Type type = types.back();
            const u64 yes = true_value(types[types.size() - 2]);
            u64 *result = x.destination();
            const u64 *a = x.source(1, type), *b = x.source(2, type), *predicate = combined_with(x);
            x.each([&](int lane) {
                const bool holds = compare_bits<V, C>(a[lane], b[lane]);
                result[lane] = combine(x.instruction->mode, holds, predicate && predicate[lane]) ? yes : 0;
            });
        }
    };
};

/// f16x2 and bf16x2: setp returns two predicates, set returns two halves.
template <Value V, Comparison C>
void compare_halves(Execution &x) {
    const Instruction &instruction = *x.instruction;
    const Type type = instruction.types.back();
    const bool is_set = instruction.opcode == "set";
    const u64 yes = is_set ? mask_to(true_value(instruction.types[instruction.types.size() - 2]), 16) : 1;
    u64 *low = x.destination(), *high = x.second_destination();
    const u64 *a = x.source(1, type), *b = x.source(2, type), *predicate = combined_with(x);
    x.each([&](int lane) {
        const bool other = predicate && predicate[lane];
        const u64 of_low = combine(instruction.mode, compare_bits<V, C>(a[lane], b[lane]), other) ? yes : 0;
        const u64 of_high =
            combine(instruction.mode, compare_bits<V, C>(a[lane] >> 16, b[lane] >> 16), other) ? yes : 0;
        if (is_set) {
            low[lane] = of_low | of_high << 16;
            return;
        }
        low[lane] = of_low;
        if (high) {
            high[lane] = of_high;
        }
    });
}

template <template <Value> class Handlers>
Handler for_scalars(Type type) {
    const Handler handler = for_integers<Handlers>(type);
    return handler ? handler : for_floats<Handlers>(type);
}

template <Comparison C>
Handler select_set(const Instruction &instruction) {
    const Type type = instruction.types.back();
    if (type.kind == Kind::kHalfX2) {
        return compare_halves<Value::kF16, C>;
    }
    if (type.kind == Kind::kBfloat16X2) {
        return compare_halves<Value::kBf16, C>;
    }
    return instruction.opcode == "set" ? for_scalars<SetValue<C>::template For>(type)
                                       : for_scalars<SetPredicate<C>::template For>(type);
}

using Selector = Handler (*)(const Instruction &);

const std::map<std::string, Selector> kSelectors = {
    {"eq", select_set<Comparison::kEq>},   {"ne", select_set<Comparison::kNe>},   {"lt", select_set<Comparison::kLt>},
    {"le", select_set<Comparison::kLe>},   {"gt", select_set<Comparison::kGt>},   {"ge", select_set<Comparison::kGe>},
    {"lo", select_set<Comparison::kLt>},   {"ls", select_set<Comparison::kLe>},   {"hi", select_set<Comparison::kGt>},
    {"hs", select_set<Comparison::kGe>},   {"equ", select_set<Comparison::kEqu>}, {"neu", select_set<Comparison::kNeu>},
    {"ltu", select_set<Comparison::kLtu>}, {"leu", select_set<Comparison::kLeu>}, {"gtu", select_set<Comparison::kGtu>},
    {"geu", select_set<Comparison::kGeu>}, {"num", select_set<Comparison::kNum>}, {"nan", select_set<Comparison::kNan>},
};

void select_by_predicate(Execution &x) {  // selp
    const Type type = x.instruction->type();
    u64 *result = x.destination();
    const u64 *a = x.source(1, type), *b = x.source(2, type), *predicate = x.source(3, kPredicate);
    x.each([&](int lane) { result[lane] = predicate[lane] ? a[lane] : b[lane]; });
}

void select_by_sign(Execution &x) {  // slct
    const Type type = x.instruction->type(), of_sign = x.instruction->types.back();
    u64 *result = x.destination();
    const u64 *a = x.source(1, type), *b = x.source(2, type), *c = x.source(3, of_sign);
    x.each([&](int lane) {
        const bool positive = of_sign.kind == Kind::kFloat ? f32_value(c[lane]) >= 0 : static_cast<s32>(c[lane]) >= 0;
        result[lane] = positive ? a[lane] : b[lane];
    });
}

void test_property(Execution &x) {  // testp
    const Type type = x.instruction->types.back();
    const std::string &property = x.instruction->modifiers[0];
    map(x, type, [&](u64 a) -> u64 {
        const int category = type.is_f32() ? std::fpclassify(f32_value(a)) : std::fpclassify(f64_value(a));
        if (property == "finite") {
            return category != FP_NAN && category != FP_INFINITE;
        }
        if (property == "number") {
            return category != FP_NAN;
        }
        return category == (property == "infinite"     ? FP_INFINITE
                            : property == "notanumber" ? FP_NAN
                            : property == "normal"     ? FP_NORMAL
                                                       : FP_SUBNORMAL);
    });
}

}  // namespace

Handler select_comparison(Instruction &instruction) {
    const std::string &opcode = instruction.opcode;
    if (opcode == "setp" || opcode == "set") {
        const size_t needed = opcode == "set" ? 2 : 1;
        if (instruction.modifiers.empty() || instruction.types.size() < needed) {
            return nullptr;
        }
        instruction.mode = combination_of(instruction);
        const auto found = kSelectors.find(instruction.modifiers[0]);
        return found == kSelectors.end() ? nullptr : found->second(instruction);
    }
    if (opcode == "selp") {
        return select_by_predicate;
    }
    if (opcode == "slct") {
        return select_by_sign;
    }
    return opcode == "testp" ? test_property : nullptr;
}

}  // namespace cuda_emulator
