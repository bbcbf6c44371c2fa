#pragma once
#include "execution/execution.h"

// What the matrix instructions have in common. Products are summed in double, so that the last bits may differ from
// those of a GPU.

namespace cuda_emulator {

struct MatrixShape {
    int m = 0, n = 0, k = 0;
};

/// Of "m16n8k16"; false where no modifier is one.
bool matrix_shape_of(const Instruction &instruction, MatrixShape &shape);

/// The registers of a fragment, each for all lanes.
std::vector<const u64 *> fragment_of(Execution &x, const Operand &operand);

/// An element of a factor in a register of 32 bits.
double factor(Type type, u32 bits, int index);
/// An element of a sum, of which a lane has several; halves lie two in a register.
double sum(Type type, const std::vector<const u64 *> &fragment, int index, int lane);
void put_sum(Execution &x, const Operand &fragment, int index, int lane, double value, Type type);

/// c += a b, where a is m x k, b is k x n, c is m x n, row by row.
void multiply_add(const Execution &x, MatrixShape shape, const double *a, const double *b, double *c);

void count_product(Execution &x, MatrixShape shape);

}  // namespace cuda_emulator
