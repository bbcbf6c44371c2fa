#include <algorithm>

#include "instructions/handlers.h"
#include "instructions/lanes.h"

namespace cuda_emulator {
namespace {

/// The last type is that of the source: popc.b64 counts the bits of 64 and returns 32 bits.
template <class Function>
void of_value(Execution &x, Function function) {
    const Type type = x.instruction->types.back();
    map(x, type, [&](u64 a) -> u64 { return function(mask_to(a, type.bits), type.bits); });
}

void count_ones(Execution &x) {
    of_value(x, [](u64 value, int) { return __builtin_popcountll(value); });
}

void count_leading_zeros(Execution &x) {
    of_value(x, [](u64 value, int bits) { return value ? __builtin_clzll(value) - (64 - bits) : bits; });
}

void reverse_bits(Execution &x) {
    of_value(x, [](u64 value, int bits) {
        u64 result = 0;
        for (int i = 0; i < bits; i++) {
            result |= (value >> i & 1) << (bits - 1 - i);
        }
        return result;
    });
}

/// The position of the highest bit that is not a sign bit, from the lowest bit or, with .shiftamt, from the highest.
void find_leading_bit(Execution &x) {
    const bool from_above = x.instruction->has("shiftamt");
    const bool is_signed = x.instruction->types.back().is_signed();
    of_value(x, [&](u64 value, int bits) -> u64 {
        if (is_signed && value >> (bits - 1) & 1) {
            value = mask_to(~value, bits);
        }
        if (!value) {
            return 0xffffffff;
        }
        const int position = 63 - __builtin_clzll(value);
        return from_above ? bits - 1 - position : position;
    });
}

void extract_field(Execution &x) {
    const Type type = x.instruction->type();
    map3(x, kBits64, [&](u64 a, u64 b, u64 c) {
        const u32 bits = type.bits, position = b & 255, length = c & 255;
        const u64 value = mask_to(a, bits);
        const u32 available = position >= bits ? 0 : std::min(length, bits - position);
        u64 field = position >= bits ? 0 : mask_to(value >> position, available);
        if (type.is_signed() && length && value >> std::min(position + length - 1, bits - 1) & 1) {
            field |= ~mask_to(~u64(0), available);
        }
        return mask_to(field, bits);
    });
}

void insert_field(Execution &x) {
    const int bits = x.instruction->type().bits;
    const u64 *lengths = x.source(4);
    u64 *result = x.destination();
    const u64 *inserted = x.source(1), *into = x.source(2), *positions = x.source(3);
    x.each([&](int lane) {
        const u32 position = positions[lane] & 255, length = lengths[lane] & 255;
        const bool outside = position >= static_cast<u32>(bits) || length == 0;
        const u64 ones = mask_to(~u64(0), std::min<u32>(length, 64));
        const u64 field = outside ? 0 : mask_to(ones << position, bits);
        const u64 shifted = outside ? 0 : inserted[lane] << position;
        result[lane] = mask_to((into[lane] & ~field) | (shifted & field), bits);
    });
}

void make_mask(Execution &x) {
    const bool clamp = x.instruction->has("clamp");
    map2(x, kBits64, [&](u64 a, u64 b) -> u64 {
        const u32 position = clamp ? static_cast<u32>(a) : a & 31, length = clamp ? static_cast<u32>(b) : b & 31;
        const u64 ones = length >= 32 ? 0xffffffff : (u64(1) << length) - 1;
        return position >= 32 ? 0 : static_cast<u32>(ones << position);
    });
}

void extend_low_bits(Execution &x) {  // szext
    const bool clamp = x.instruction->has("clamp"), is_signed = x.instruction->types.back().is_signed();
    map2(x, kBits64, [&](u64 a, u64 b) -> u64 {
        const u32 length = clamp ? static_cast<u32>(b) : b & 31;
        if (length >= 32) {
            return static_cast<u32>(a);
        }
        const Type low = {is_signed ? Kind::kSigned : Kind::kUnsigned, static_cast<int>(length)};
        return length == 0 ? 0 : static_cast<u32>(extend(mask_to(a, 32), low));
    });
}

}  // namespace

Handler select_bit_field(Instruction &instruction) {
    static const std::map<std::string, Handler> handlers = {
        {"popc", count_ones},   {"clz", count_leading_zeros}, {"brev", reverse_bits}, {"bfind", find_leading_bit},
        {"bfe", extract_field}, {"bfi", insert_field},        {"bmsk", make_mask},    {"szext", extend_low_bits},
    };
    const auto found = handlers.find(instruction.opcode);
    return found == handlers.end() ? nullptr : found->second;
}

}  // namespace cuda_emulator
