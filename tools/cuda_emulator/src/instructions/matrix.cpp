#include "instructions/matrix.h"

#include <algorithm>
#include <cstdio>

namespace cuda_emulator {

bool matrix_shape_of(const Instruction &instruction, MatrixShape &shape) {
    for (const std::string &modifier : instruction.modifiers) {
        if (std::sscanf(modifier.c_str(), "m%dn%dk%d", &shape.m, &shape.n, &shape.k) == 3) {
            return true;
        }
    }
    return false;
}

std::vector<const u64 *> fragment_of(Execution &x, const Operand &operand) {
    std::vector<const u64 *> registers;
    if (!operand.is(OperandKind::kVector)) {
        registers.push_back(x.source(operand));
    }
    for (const Operand &part : operand.parts) {
        registers.push_back(x.source(part));
    }
    return registers;
}

double factor(Type type, u32 bits, int index) {
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

double sum(Type type, const std::vector<const u64 *> &fragment, int index, int lane) {
    if (type.is_f16()) {
        return half_value(static_cast<u16>(fragment[index / 2][lane] >> (16 * (index % 2))));
    }
    const u64 bits = fragment[index][lane];
    return type.is_signed() ? static_cast<s32>(bits) : f32_value(bits);
}

void put_sum(Execution &x, const Operand &fragment, int index, int lane, double value, Type type) {
    if (type.is_f16()) {
        u64 &both = x.destination(fragment.parts[index / 2])[lane];
        const int shift = 16 * (index % 2);
        both = (both & (u64(0xffff0000) >> shift)) | static_cast<u64>(half_bits(value)) << shift;
        return;
    }
    u64 &bits = x.destination(fragment.parts[index])[lane];
    bits = type.is_signed() ? static_cast<u32>(static_cast<s64>(value)) : f32_bits(static_cast<float>(value));
}

void multiply_add(const Execution &x, MatrixShape shape, const double *a, const double *b, double *c) {
    const bool is_integer = x.instruction->types[0].is_signed(), saturates = x.instruction->has("satfinite");
    for (int i = 0; i < shape.m; i++) {
        double row[64];  // apart from b, so that the loops can be vectorised
        std::copy_n(c + i * shape.n, shape.n, row);
        for (int k = 0; k < shape.k; k++) {
            const double left = a[i * shape.k + k];
            for (int j = 0; j < shape.n; j++) {
                row[j] += left * b[k * shape.n + j];
            }
        }
        for (int j = 0; is_integer && j < shape.n; j++) {
            row[j] = saturates ? std::clamp(row[j], -2147483648.0, 2147483647.0)
                               : static_cast<s32>(static_cast<u32>(static_cast<s64>(row[j])));
        }
        std::copy_n(row, shape.n, c + i * shape.n);
    }
}

void count_product(Execution &x, MatrixShape shape) {
    if (x.block.statistics) {
        x.block.statistics->mma_instructions++;
        x.block.statistics->mma_flops += u64(2) * shape.m * shape.n * shape.k;
    }
}

}  // namespace cuda_emulator
