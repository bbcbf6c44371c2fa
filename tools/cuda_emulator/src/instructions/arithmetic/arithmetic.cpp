#include "instructions/handlers.h"
#include "instructions/values.h"

// add, sub, div and rem of every type; mul of floating point.

namespace cuda_emulator {
namespace {

// Integers are added as u64, because overflow of signed integers is undefined in C++.
struct Add {
    template <class V>
    V operator()(V x, V y) const {
        if constexpr (std::is_integral_v<V>) {
            return static_cast<V>(static_cast<u64>(x) + static_cast<u64>(y));
        } else {
            return x + y;
        }
    }
};

struct Subtract {
    template <class V>
    V operator()(V x, V y) const {
        if constexpr (std::is_integral_v<V>) {
            return static_cast<V>(static_cast<u64>(x) - static_cast<u64>(y));
        } else {
            return x - y;
        }
    }
};

struct Multiply {
    template <class V>
    V operator()(V x, V y) const {
        return x * y;
    }
};

// Division by zero, or of the smallest integer by -1, is not an error on a GPU.
struct Divide {
    template <class V>
    V operator()(V x, V y) const {
        if constexpr (std::is_floating_point_v<V>) {
            return x / y;
        } else {
            if (y == 0) {
                return static_cast<V>(~V(0));
            }
            const bool overflows = std::is_signed_v<V> && y == static_cast<V>(-1);
            return overflows ? static_cast<V>(0 - static_cast<u64>(x)) : static_cast<V>(x / y);
        }
    }
};

struct Remainder {
    template <class V>
    V operator()(V x, V y) const {
        if (y == 0) {
            return x;
        }
        return std::is_signed_v<V> && y == static_cast<V>(-1) ? V(0) : static_cast<V>(x % y);
    }
};

template <class Operation>
struct Plain {
    template <Value V>
    struct For {
        static void run(Execution &x) {
            map2(x, x.instruction->types.back(), [](u64 a, u64 b) { return apply<V>(Operation(), a, b); });
        }
    };
};

/// With .sat and .relu, and .ftz for float.
template <class Operation>
struct Modified {
    template <Value V>
    struct For {
        static void run(Execution &x) {
            const Instruction &instruction = *x.instruction;
            const bool saturates = instruction.saturate, clips = instruction.relu;
            const bool flushes = instruction.flush && V == Value::kF32;
            const auto operation = [=](auto a, auto b) {
                using Number = decltype(a);
                if constexpr (std::is_same_v<Number, float>) {
                    float result = flushes ? flush(Operation()(flush(a), flush(b))) : Operation()(a, b);
                    result = saturates ? saturate(result) : result;
                    return clips ? relu(result) : result;
                } else if constexpr (std::is_same_v<Number, double>) {
                    return Operation()(a, b);
                } else {
                    Number result = Operation()(a, b);
                    if (saturates && V == Value::kS32) {
                        result = static_cast<Number>(std::clamp<s64>(static_cast<s64>(result), INT32_MIN, INT32_MAX));
                    }
                    return clips && static_cast<s64>(result) < 0 ? Number(0) : result;
                }
            };
            map2(x, instruction.types.back(), [&](u64 a, u64 b) { return apply<V>(operation, a, b); });
        }
    };
};

template <class Operation>
Handler select(const Instruction &instruction) {
    const bool modified = instruction.saturate || instruction.relu || instruction.flush;
    return modified ? for_all_values<Modified<Operation>::template For>(instruction.type())
                    : for_all_values<Plain<Operation>::template For>(instruction.type());
}

}  // namespace

Handler select_arithmetic(Instruction &instruction) {
    const std::string &opcode = instruction.opcode;
    if (opcode == "add") {
        return select<Add>(instruction);
    }
    if (opcode == "sub") {
        return select<Subtract>(instruction);
    }
    if (opcode == "div") {
        return select<Divide>(instruction);
    }
    if (opcode == "rem") {
        return for_integers<Plain<Remainder>::For>(instruction.type());
    }
    if (opcode == "mul" && is_floating(value_of(instruction.type()))) {
        return select<Multiply>(instruction);
    }
    return nullptr;
}

}  // namespace cuda_emulator
