#include <algorithm>

#include "instructions/handlers.h"
#include "instructions/values.h"

// cvt of one number.

namespace cuda_emulator {
namespace {

bool is_float(Type type) {
    return type.kind == Kind::kFloat || type.kind == Kind::kBfloat16 || type.kind == Kind::kTf32;
}

bool is_integer(Type type) {
    return type.kind == Kind::kUnsigned || type.kind == Kind::kSigned || type.kind == Kind::kBits;
}

long double load(u64 bits, Type type) {
    if (type.kind == Kind::kBfloat16) {
        return bf16_value(static_cast<u16>(bits));
    }
    return type.bits == 64 ? f64_value(bits) : type.bits == 32 ? f32_value(bits) : half_value(static_cast<u16>(bits));
}

u64 store(long double value, Type type, Rounding rounding) {
    if (type.kind == Kind::kBfloat16) {
        return round_to_format(value, 8, 7, rounding);
    }
    if (type.kind == Kind::kTf32) {
        return round_to_format(value, 8, 10, rounding) << 13;
    }
    return type.bits == 64   ? round_to_format(value, 11, 52, rounding)
           : type.bits == 32 ? round_to_format(value, 8, 23, rounding)
                             : round_to_format(value, 5, 10, rounding);
}

s64 largest_signed(int bits) {
    return static_cast<s64>((u64(1) << (bits - 1)) - 1);
}

/// A signed result is sign-extended to the width of the register.
int register_bits(const Execution &x, Type type) {
    const Operand &operand = x.instruction->operands[0];
    const int bits = operand.is(OperandKind::kRegister) ? x.block.function->register_bits[operand.reg] : 32;
    return type.is_signed() ? std::max(bits, type.bits) : type.bits;
}

void integer_to_integer(Execution &x) {
    const Type to = x.instruction->types[0], from = x.instruction->types.back();
    const bool saturates = x.instruction->saturate;
    const int bits = register_bits(x, to);
    const s64 largest = largest_signed(to.bits);
    map(x, from, [&](u64 a) {
        u64 value = extend(a, from);
        if (saturates && to.is_signed()) {
            value = from.is_signed() ? static_cast<u64>(std::clamp(static_cast<s64>(value), -largest - 1, largest))
                                     : std::min(value, static_cast<u64>(largest));
        } else if (saturates) {
            value = from.is_signed() && static_cast<s64>(value) < 0 ? 0 : std::min(value, mask_to(~u64(0), to.bits));
        }
        return mask_to(extend(mask_to(value, to.bits), to), bits);
    });
}

void float_to_integer(Execution &x) {
    const Type to = x.instruction->types[0], from = x.instruction->types.back();
    const Rounding rounding = x.instruction->rounding;
    const int bits = register_bits(x, to);
    const double limit = std::ldexp(1, to.is_signed() ? to.bits - 1 : to.bits);
    const s64 largest = largest_signed(to.bits);
    const auto round = [&](double value) {
        return rounding == Rounding::kTowardsZero ? std::trunc(value)
               : rounding == Rounding::kDown      ? std::floor(value)
               : rounding == Rounding::kUp        ? std::ceil(value)
                                                  : std::rint(value);
    };
    map(x, from, [&](u64 a) -> u64 {
        const double value = static_cast<double>(load(a, from));  // exact
        if (value != value) {
            return to.bits == 64 ? u64(1) << 63 : 0;
        }
        const double rounded = round(value);
        if (to.is_signed()) {
            const s64 clamped = rounded <= -limit  ? -largest - 1
                                : rounded >= limit ? largest
                                                   : static_cast<s64>(rounded);
            return mask_to(static_cast<u64>(clamped), bits);
        }
        return rounded <= 0 ? 0 : rounded >= limit ? mask_to(~u64(0), to.bits) : static_cast<u64>(rounded);
    });
}

void integer_to_float(Execution &x) {
    const Type to = x.instruction->types[0], from = x.instruction->types.back();
    const Rounding rounding = x.instruction->rounding;
    const auto convert = [&](auto number, auto to_bits) {
        using Number = decltype(number);
        map(x, from, [&](u64 a) -> u64 {
            const u64 value = extend(a, from);
            return to_bits(from.is_signed() ? static_cast<Number>(static_cast<s64>(value))
                                            : static_cast<Number>(value));
        });
    };
    if (to.is_f32() && is_nearest_even(rounding)) {
        convert(float(), f32_bits);
    } else if (to.is_f64() && is_nearest_even(rounding)) {
        convert(double(), f64_bits);
    } else {
        using Widest = long double;
        convert(Widest(), [&](Widest value) { return store(value, to, rounding); });
    }
}

/// The conversions without modifiers, between the formats that C++ has.
bool convert_plainly(Execution &x, Type to, Type from) {
    const bool to_bf16 = to.kind == Kind::kBfloat16, from_bf16 = from.kind == Kind::kBfloat16;
    if (to.is_f16() && from.is_f32()) {
        map(x, from, [](u64 a) -> u64 { return half_bits(f32_value(a)); });
    } else if (to.is_f32() && from.is_f16()) {
        map(x, from, [](u64 a) { return f32_bits(half_value(static_cast<u16>(a))); });
    } else if (to.is_f32() && from_bf16) {
        map(x, from, [](u64 a) { return f32_bits(bf16_value(static_cast<u16>(a))); });
    } else if (to_bf16 && from.is_f32()) {
        map(x, from, [](u64 a) -> u64 { return bf16_bits(f32_value(a)); });
    } else if (to.is_f64() && from.is_f32()) {
        map(x, from, [](u64 a) { return f64_bits(f32_value(a)); });
    } else if (to.is_f32() && from.is_f64()) {
        map(x, from, [](u64 a) { return f32_bits(static_cast<float>(f64_value(a))); });
    } else {
        return false;
    }
    return true;
}

void float_to_float(Execution &x) {
    const Instruction &instruction = *x.instruction;
    const Type to = instruction.types[0], from = instruction.types.back();
    const bool saturates = instruction.has("sat"), clips = instruction.relu;
    const bool flushes = instruction.flush && from.bits == 32;
    const bool to_integer =
        instruction.has("rni") || instruction.has("rzi") || instruction.has("rmi") || instruction.has("rpi");
    const Rounding rounding = instruction.rounding;
    const bool plain = !saturates && !clips && !to_integer && !flushes && is_nearest_even(rounding);
    if (plain && convert_plainly(x, to, from)) {
        return;
    }
    map(x, from, [&](u64 a) {
        long double value = load(flushes ? f32_bits(flush(f32_value(a))) : a, from);
        value = to_integer ? round_to_integer(value, rounding) : value;
        value = saturates ? saturate(value) : value;
        value = clips ? relu(value) : value;
        return store(value, to, to_integer ? Rounding::kNearestEven : rounding);
    });
}

}  // namespace

Handler select_conversion(Instruction &instruction) {
    if (instruction.opcode != "cvt" || instruction.types.size() < 2 || instruction.operands.size() != 2) {
        return nullptr;
    }
    const Type to = instruction.types[0], from = instruction.types.back();
    if (is_integer(to)) {
        return is_integer(from) ? integer_to_integer : is_float(from) ? float_to_integer : nullptr;
    }
    if (is_float(to)) {
        return is_integer(from) ? integer_to_float : is_float(from) ? float_to_float : nullptr;
    }
    return nullptr;
}

}  // namespace cuda_emulator
