#pragma once
#include "execution/execution.h"

// Shared by the matrix instructions. Products are summed in double, so the last bits may differ from a GPU's.

namespace cuda_emulator {

struct MatrixShape {
    int m = 0, n = 0, k = 0;
};

/// Parses a shape such as "m16n8k16"; false if no modifier is a shape.
bool matrix_shape_of(const Instruction &instruction, MatrixShape &shape);

/// The registers of a fragment, as rows of all lanes.
std::vector<const u64 *> fragment_of(Execution &x, const Operand &operand);

// Inline, because they are called for each element.

/// One element of a factor in a 32-bit register.
inline double factor(Type type, u32 bits, int index) {
    const u32 element = bits >> (type.bits * index & 31);
    switch (type.kind) {
        case Kind::kFloat:
            return type.bits == 16 ? half_value(static_cast<u16>(element)) : f32_value(element);
        case Kind::kBfloat16:
            return bf16_value(static_cast<u16>(element));
        case Kind::kTf32:
            return f32_value(element & ~u32(0x1fff));
        case Kind::kE4m3:
            return e4m3_value(static_cast<u8>(element));
        case Kind::kE5m2:
            return e5m2_value(static_cast<u8>(element));
        case Kind::kSigned:
            return static_cast<s8>(element);
        default:
            return static_cast<u8>(element);
    }
}

/// One of a lane's elements of a sum; a register has two halves.
inline double sum(Type type, const std::vector<const u64 *> &fragment, int index, int lane) {
    if (type.is_f16()) {
        return half_value(static_cast<u16>(fragment[index / 2][lane] >> (16 * (index % 2))));
    }
    const u64 bits = fragment[index][lane];
    return type.is_signed() ? static_cast<s32>(bits) : f32_value(bits);
}

inline void put_sum(Execution &x, const Operand &fragment, int index, int lane, double value, Type type) {
    if (type.is_f16()) {
        u64 &both = x.destination(fragment.parts[index / 2])[lane];
        const int shift = 16 * (index % 2);
        both = (both & (u64(0xffff0000) >> shift)) | static_cast<u64>(half_bits(value)) << shift;
        return;
    }
    u64 &bits = x.destination(fragment.parts[index])[lane];
    bits = type.is_signed() ? static_cast<u32>(static_cast<s64>(value)) : f32_bits(static_cast<float>(value));
}

/// c += a b; a is m x k, b is k x n, c is m x n, all row-major.
void multiply_add(const Execution &x, MatrixShape shape, const double *a, const double *b, double *c);

void count_product(Execution &x, MatrixShape shape);

}  // namespace cuda_emulator
