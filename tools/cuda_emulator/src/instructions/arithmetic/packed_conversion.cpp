#include <algorithm>

#include "instructions/handlers.h"
#include "instructions/values.h"

// cvt of two numbers at once, and cvt.pack.

namespace cuda_emulator {
namespace {

/// Replaces infinity by the largest finite number of the format.
u64 without_infinity(u64 bits, u64 infinity) {
    return (bits & 0x7fff) == infinity ? bits - 1 : bits;
}

struct Narrow {
    Kind kind;  // type of the pair
    Rounding rounding;
    bool clips, finite;

    u64 operator()(u64 source) const {
        const float value = clips ? relu(f32_value(source)) : f32_value(source);
        u64 bits;
        switch (kind) {
            case Kind::kHalfX2:
                bits = is_nearest_even(rounding) ? half_bits(value) : round_to_format(value, 5, 10, rounding);
                return finite ? without_infinity(bits, 0x7c00) : bits;
            case Kind::kBfloat16X2:
                bits = is_nearest_even(rounding) ? bf16_bits(value) : round_to_format(value, 8, 7, rounding);
                return finite ? without_infinity(bits, 0x7f80) : bits;
            case Kind::kE4m3X2:
                return e4m3_bits(value);
            default:
                return e5m2_bits(value);
        }
    }
};

void floats_to_packed(Execution &x) {  // the first source becomes the upper element
    const Instruction &instruction = *x.instruction;
    const Type to = instruction.types[0];
    const Narrow narrow = {to.kind, instruction.rounding, instruction.relu, instruction.has("satfinite")};
    map2(x, instruction.types.back(), [&](u64 a, u64 b) { return narrow(a) << (to.bits / 2) | narrow(b); });
}

void halves_to_fp8(Execution &x) {
    const bool is_e4m3 = x.instruction->types[0].kind == Kind::kE4m3X2, clips = x.instruction->relu;
    const auto element = [&](u64 bits) -> u64 {
        const float half = half_value(static_cast<u16>(bits)), value = clips ? relu(half) : half;
        return is_e4m3 ? e4m3_bits(value) : e5m2_bits(value);
    };
    map(x, kBits64, [&](u64 a) { return element(a) | element(a >> 16) << 8; });
}

void fp8_to_halves(Execution &x) {
    const bool is_e4m3 = x.instruction->types.back().kind == Kind::kE4m3X2, clips = x.instruction->relu;
    const auto element = [&](u64 bits) -> u64 {
        const u8 byte = static_cast<u8>(bits);
        const float value = is_e4m3 ? e4m3_value(byte) : e5m2_value(byte);
        return half_bits(clips ? relu(value) : value);
    };
    map(x, kBits64, [&](u64 a) { return element(a) | element(a >> 8) << 16; });
}

/// cvt.pack.sat.u8.s32.b32 d, a, b, c: from the lowest bits up b, a, then c.
void saturate_and_pack(Execution &x) {
    const Instruction &instruction = *x.instruction;
    const Type to = instruction.types[0], from = instruction.types[1];
    const u64 ones = mask_to(~u64(0), to.is_signed() ? to.bits - 1 : to.bits);
    const s64 largest = static_cast<s64>(ones), least = to.is_signed() ? -largest - 1 : 0;
    const auto element = [&](u64 source) {
        const s64 value = std::clamp(static_cast<s64>(extend(source, from)), least, largest);
        return mask_to(static_cast<u64>(value), to.bits);
    };
    const auto packed = [&](u64 a, u64 b) { return element(a) << to.bits | element(b); };
    if (instruction.operands.size() > 3) {
        map3(x, kBits64, [&](u64 a, u64 b, u64 c) { return mask_to(c << (2 * to.bits) | packed(a, b), 32); });
    } else {
        map2(x, kBits64, [&](u64 a, u64 b) { return mask_to(packed(a, b), 32); });
    }
}

bool is_fp8_pair(Type type) {
    return type.kind == Kind::kE4m3X2 || type.kind == Kind::kE5m2X2;
}

bool is_pair(Type type) {
    return type.kind == Kind::kHalfX2 || type.kind == Kind::kBfloat16X2 || is_fp8_pair(type);
}

/// Formats and rounding modes that are not supported.
std::string refusal_of(const Instruction &instruction) {
    for (const std::string &modifier : instruction.modifiers) {
        if (modifier == "rs") {
            return "stochastic rounding";
        }
        for (const char *prefix : {"e2m", "e3m", "ue8"}) {
            if (modifier.rfind(prefix, 0) == 0) {
                return "fp4/fp6/ue8m0 format";
            }
        }
    }
    return "";
}

}  // namespace

Handler select_packed_conversion(Instruction &instruction) {
    if (instruction.opcode != "cvt" || instruction.types.size() < 2) {
        return nullptr;
    }
    instruction.refusal = refusal_of(instruction);
    if (!instruction.refusal.empty()) {
        return nullptr;
    }
    const Type to = instruction.types[0], from = instruction.types.back();
    if (instruction.has("pack")) {
        return to.bits >= 8 && to.bits <= 16 ? saturate_and_pack : nullptr;
    }
    if (instruction.operands.size() == 3) {
        return is_pair(to) && from.is_f32() ? floats_to_packed : nullptr;
    }
    if (is_fp8_pair(to) && from.kind == Kind::kHalfX2) {
        return halves_to_fp8;
    }
    return is_fp8_pair(from) && to.kind == Kind::kHalfX2 ? fp8_to_halves : nullptr;
}

}  // namespace cuda_emulator
