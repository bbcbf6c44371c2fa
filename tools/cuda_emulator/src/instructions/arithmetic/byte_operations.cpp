#include <algorithm>

#include "instructions/handlers.h"
#include "instructions/lanes.h"

// Operations on bytes and 16-bit halves of registers: permutation, dot products, sums of differences.

namespace cuda_emulator {
namespace {

enum Permutation {
    kByIndex,
    kForwardExtract,
    kBackwardExtract,
    kReplicateByte,
    kClampLeft,
    kClampRight,
    kReplicateHalf
};

/// The index, 0 to 7, of the source byte for byte i of the result; bit 3 selects its sign instead.
u32 permuted_byte(int mode, u32 selector, u32 i) {
    const u32 low = selector & 3;
    switch (mode) {
        case kForwardExtract:
            return low + i;
        case kBackwardExtract:
            return (low - i) & 7;
        case kReplicateByte:
            return low;
        case kClampLeft:
            return std::max(i, low);
        case kClampRight:
            return std::min(i, low);
        case kReplicateHalf:
            return (low & 1) * 2 + (i & 1);
        default:
            return selector >> (4 * i) & 15;
    }
}

void permute(Execution &x) {
    const int mode = x.instruction->mode;
    map3(x, kBits64, [&](u64 a, u64 b, u64 selector) {
        const u64 bytes = b << 32 | static_cast<u32>(a);
        u64 result = 0;
        for (u32 i = 0; i < 4; i++) {
            const u32 which = permuted_byte(mode, static_cast<u32>(selector), i);
            u64 byte = bytes >> (8 * (which & 7)) & 255;
            if (which & 8) {
                byte = byte & 128 ? 255 : 0;
            }
            result |= byte << (8 * i);
        }
        return result;
    });
}

Type element_of(Type type, int bits) {
    return {type.kind, bits};
}

s64 element(u64 value, Type type, int index) {
    return static_cast<s64>(extend(value >> (type.bits * index), type));
}

/// dp4a, and dp2a, which multiplies halves by the lower or the upper two bytes.
void dot_product(Execution &x) {
    const Instruction &instruction = *x.instruction;
    const bool of_bytes = instruction.opcode == "dp4a";
    const Type left = element_of(instruction.types[0], of_bytes ? 8 : 16), right = element_of(instruction.types[1], 8);
    const int first = !of_bytes && instruction.high ? 2 : 0;
    map3(x, kBits64, [&](u64 a, u64 b, u64 c) -> u64 {
        s64 sum = static_cast<s32>(c);
        for (int i = 0; i < 32 / left.bits; i++) {
            sum += element(a, left, i) * element(b, right, first + i);
        }
        return static_cast<u32>(sum);
    });
}

u64 difference(s64 a, s64 b) {
    return static_cast<u64>(a > b ? a - b : b - a);
}

void add_difference(Execution &x) {  // sad
    const Type type = x.instruction->type();
    map3(x, kBits64, [&](u64 a, u64 b, u64 c) {
        return mask_to(difference(element(a, type, 0), element(b, type, 0)) + c, type.bits);
    });
}

/// vabsdiff4 and vabsdiff2; with .add, the sum of the differences and c.
void packed_differences(Execution &x) {
    const Instruction &instruction = *x.instruction;
    const int bits = instruction.opcode == "vabsdiff4" ? 8 : 16;
    const Type left = element_of(instruction.types[1], bits), right = element_of(instruction.types[2], bits);
    const bool adds = instruction.has("add");
    map3(x, kBits64, [&](u64 a, u64 b, u64 c) -> u64 {
        u64 packed = 0, sum = c;
        for (int i = 0; i < 32 / bits; i++) {
            const u64 apart = difference(element(a, left, i), element(b, right, i));
            sum += apart;
            packed |= mask_to(apart, bits) << (bits * i);
        }
        return static_cast<u32>(adds ? sum : packed);
    });
}

}  // namespace

Handler select_byte_operation(Instruction &instruction) {
    const std::string &opcode = instruction.opcode;
    if (opcode == "prmt") {
        static const std::map<std::string, int> modes = {
            {"f4e", kForwardExtract}, {"b4e", kBackwardExtract}, {"rc8", kReplicateByte},
            {"ecl", kClampLeft},      {"ecr", kClampRight},      {"rc16", kReplicateHalf},
        };
        instruction.mode = kByIndex;
        for (const std::string &modifier : instruction.modifiers) {
            const auto found = modes.find(modifier);
            instruction.mode = found == modes.end() ? instruction.mode : found->second;
        }
        return permute;
    }
    if (opcode == "dp4a" || opcode == "dp2a") {
        return dot_product;
    }
    if (opcode == "sad") {
        return add_difference;
    }
    if (opcode == "vabsdiff4" || opcode == "vabsdiff2") {
        // Only the forms for all elements; a mask is another modifier.
        const bool plain = instruction.types.size() == 3 && instruction.operands.size() == 4 && !instruction.saturate &&
                           instruction.modifiers.size() <= 4;
        return plain ? packed_differences : nullptr;
    }
    return nullptr;
}

}  // namespace cuda_emulator
