#include "instructions/matrix/matrix.h"

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

void multiply_add(const Execution &x, MatrixShape shape, const double *a, const double *b, double *c) {
    const bool is_integer = x.instruction->types[0].is_signed(), saturates = x.instruction->has("satfinite");
    for (int i = 0; i < shape.m; i++) {
        double row[64];  // a copy, so that the loops can be vectorised
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
