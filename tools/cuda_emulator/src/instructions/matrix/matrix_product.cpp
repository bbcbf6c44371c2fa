#include "instructions/handlers.h"
#include "instructions/matrix/matrix.h"

// mma.sync with the fragment layouts of the PTX manual. Lane 4 g + t holds rows g and g + 8 of a, column g of b, and
// columns 2 t and 2 t + 1 of the sum.

namespace cuda_emulator {
namespace {

void multiply(Execution &x) {
    const Instruction &instruction = *x.instruction;
    MatrixShape shape;
    matrix_shape_of(instruction, shape);
    const Type d_type = instruction.types[0], a_type = instruction.types[1], b_type = instruction.types[2];
    const Type c_type = instruction.types[3];
    const int per_register = 32 / a_type.bits;
    const auto a_registers = fragment_of(x, instruction.operands[1]);
    const auto b_registers = fragment_of(x, instruction.operands[2]);
    const auto c_registers = fragment_of(x, instruction.operands[3]);
    const int sums = shape.m * shape.n / kWarp;
    const auto sum_place = [&](int lane, int i) { return (lane / 4 + 8 * (i / 2)) * shape.n + lane % 4 * 2 + i % 2; };
    double a[16 * 64], b[64 * 8], c[16 * 8];
    for (int lane = 0; lane < kWarp; lane++) {
        const int g = lane / 4, t = lane % 4;
        for (int i = 0; i < static_cast<int>(a_registers.size()); i++) {
            const bool has_two_rows = shape.m == 16;
            const int row = has_two_rows ? g + 8 * (i % 2) : g, block = has_two_rows ? i / 2 : i;
            for (int j = 0; j < per_register; j++) {
                const int column = (4 * block + t) * per_register + j;
                a[row * shape.k + column] = factor(a_type, static_cast<u32>(a_registers[i][lane]), j);
            }
        }
        for (int i = 0; i < static_cast<int>(b_registers.size()); i++) {
            for (int j = 0; j < per_register; j++) {
                const int row = (4 * i + t) * per_register + j;
                b[row * shape.n + g] = factor(b_type, static_cast<u32>(b_registers[i][lane]), j);
            }
        }
        for (int i = 0; i < sums; i++) {
            c[sum_place(lane, i)] = sum(c_type, c_registers, i, lane);
        }
    }
    multiply_add(x, shape, a, b, c);
    count_product(x, shape);
    for (int lane = 0; lane < kWarp; lane++) {
        for (int i = 0; i < sums; i++) {
            put_sum(x, instruction.operands[0], i, lane, c[sum_place(lane, i)], d_type);
        }
    }
}

void multiply_doubles(Execution &x) {  // m8n8k4: a lane has one element of each factor
    const Instruction &instruction = *x.instruction;
    const auto a_registers = fragment_of(x, instruction.operands[1]);
    const auto b_registers = fragment_of(x, instruction.operands[2]);
    const auto c_registers = fragment_of(x, instruction.operands[3]);
    double a[8][4], b[4][8], c[8][8];
    for (int lane = 0; lane < kWarp; lane++) {
        const int g = lane / 4, t = lane % 4;
        a[g][t] = f64_value(a_registers[0][lane]);
        b[t][g] = f64_value(b_registers[0][lane]);
        for (int i = 0; i < 2; i++) {
            c[g][t * 2 + i] = f64_value(c_registers[i][lane]);
        }
    }
    for (int i = 0; i < 8; i++) {
        for (int j = 0; j < 8; j++) {
            for (int k = 0; k < 4; k++) {
                c[i][j] = std::fma(a[i][k], b[k][j], c[i][j]);
            }
        }
    }
    count_product(x, {8, 8, 4});
    for (int lane = 0; lane < kWarp; lane++) {
        for (int i = 0; i < 2; i++) {
            x.destination(instruction.operands[0].parts[i])[lane] = f64_bits(c[lane / 4][lane % 4 * 2 + i]);
        }
    }
}

/// Sparse, block-scaled and sub-byte factors are not emulated.
bool is_dense(const Instruction &instruction) {
    for (const std::string &modifier : instruction.modifiers) {
        for (const char *prefix : {"sp", "block_scale", "s4", "u4", "b1", "e2m", "e3m"}) {
            if (modifier.rfind(prefix, 0) == 0) {
                return false;
            }
        }
    }
    return true;
}

}  // namespace

Handler select_matrix_product(Instruction &instruction) {
    MatrixShape shape;
    if (instruction.opcode != "mma" || instruction.types.size() < 4 || !matrix_shape_of(instruction, shape) ||
        !is_dense(instruction)) {
        return nullptr;
    }
    const Type factors = instruction.types[1];
    if (factors.bits == 64) {
        return shape.m == 8 && shape.n == 8 && shape.k == 4 ? multiply_doubles : nullptr;
    }
    // m8n8k4 of halves has other fragment layouts.
    const bool known = (shape.m == 16 || (shape.m == 8 && shape.k != 4)) && shape.n == 8 && shape.k <= 64;
    return known && factors.kind != Kind::kBits ? multiply : nullptr;
}

}  // namespace cuda_emulator
