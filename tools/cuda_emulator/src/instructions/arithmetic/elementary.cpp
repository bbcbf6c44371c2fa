#include "instructions/handlers.h"
#include "instructions/values.h"

// sqrt, rcp, sin and the like: accurate results, not the approximations of the hardware.

namespace cuda_emulator {
namespace {

struct SquareRoot {
    template <class Float>
    Float operator()(Float x) const {
        return std::sqrt(x);
    }
};

struct Reciprocal {
    template <class Float>
    Float operator()(Float x) const {
        return 1 / x;
    }
};

/// The other functions compute in double. Their float result is nearly always the nearest one.
template <double (*F)(double)>
struct InDouble {
    double operator()(double x) const { return F(x); }
};

double reciprocal_square_root(double x) {
    return 1 / std::sqrt(x);
}

template <class Function>
void elementary(Execution &x) {
    const Type type = x.instruction->type();
    const bool flushes = x.instruction->flush;
    const Function function;
    const auto of_float = [&](float value) {
        return flushes ? flush(static_cast<float>(function(flush(value)))) : static_cast<float>(function(value));
    };
    const auto of_half = [&](u16 bits) { return half_bits(function(double(half_value(bits)))); };
    const auto of_bfloat16 = [&](u16 bits) { return bf16_bits(round_to_odd(function(double(bf16_value(bits))))); };
    map(x, type, [&](u64 a) -> u64 {
        switch (value_of(type)) {
            case Value::kF32:
                return f32_bits(of_float(f32_value(a)));
            case Value::kF64:
                return f64_bits(function(f64_value(a)));
            case Value::kF16:
                return of_half(static_cast<u16>(a));
            case Value::kF16X2:
                return for_halves(of_half, a);
            case Value::kBf16:
                return of_bfloat16(static_cast<u16>(a));
            default:
                return for_halves(of_bfloat16, a);
        }
    });
}

}  // namespace

Handler select_elementary(Instruction &instruction) {
    static const std::map<std::string, Handler> handlers = {
        {"sqrt", elementary<SquareRoot>},
        {"rcp", elementary<Reciprocal>},
        {"rsqrt", elementary<InDouble<reciprocal_square_root>>},
        {"ex2", elementary<InDouble<std::exp2>>},
        {"lg2", elementary<InDouble<std::log2>>},
        {"sin", elementary<InDouble<std::sin>>},
        {"cos", elementary<InDouble<std::cos>>},
        {"tanh", elementary<InDouble<std::tanh>>},
    };
    const auto found = handlers.find(instruction.opcode);
    return found == handlers.end() ? nullptr : found->second;
}

}  // namespace cuda_emulator
