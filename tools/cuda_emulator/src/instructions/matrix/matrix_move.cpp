#include "instructions/handlers.h"
#include "instructions/memory/addresses.h"

// ldmatrix, stmatrix and movmatrix: 8 x 8 matrices of 16-bit elements; each lane has two consecutive elements.

namespace cuda_emulator {
namespace {

struct Tile {
    u16 rows[8][8];

    u16 &element(int lane, int i, bool transposed) {
        const int row = lane / 4, column = lane % 4 * 2 + i;
        return transposed ? rows[column][row] : rows[row][column];
    }
    void put(const u64 *registers, bool transposed) {
        for (int lane = 0; lane < kWarp; lane++) {
            for (int i = 0; i < 2; i++) {
                element(lane, i, transposed) = static_cast<u16>(registers[lane] >> (16 * i));
            }
        }
    }
    void get(u64 *registers, bool transposed) {
        for (int lane = 0; lane < kWarp; lane++) {
            registers[lane] = element(lane, 0, transposed) | static_cast<u64>(element(lane, 1, transposed)) << 16;
        }
    }
};

/// Lanes 8 i to 8 i + 7 hold the row addresses of matrix i.
void move_matrices(Execution &x) {
    constexpr int kRowBytes = 16;
    const Instruction &instruction = *x.instruction;
    const bool stores = instruction.opcode == "stmatrix", transposed = instruction.has("trans");
    const int count = instruction.has("x4") ? 4 : instruction.has("x2") ? 2 : 1;
    const Operand &fragment = instruction.operands[stores ? 1 : 0];
    const u64 *addresses = addresses_of(x, instruction.operands[stores ? 0 : 1]);
    for (int i = 0; i < count; i++) {
        const Operand &reg = fragment.is(OperandKind::kVector) ? fragment.parts[i] : fragment;
        Tile tile;
        if (stores) {
            tile.put(x.source(reg), transposed);
        }
        for (int row = 0; row < 8; row++) {
            const int lane = 8 * i + row;
            void *pointer = reinterpret_cast<void *>(addresses[lane]);
            if (stores) {
                x.check_store(addresses[lane], kRowBytes, lane);
                std::memcpy(pointer, tile.rows[row], kRowBytes);
            } else {
                x.check_load(addresses[lane], kRowBytes, lane);
                std::memcpy(tile.rows[row], pointer, kRowBytes);
            }
        }
        if (!stores) {
            tile.get(x.destination(reg), transposed);
        }
    }
    const u32 lanes = x.active;
    x.active = count == 4 ? kFullMask : lane_bit(8 * count) - 1;
    x.count_access(addresses, kRowBytes, stores);
    x.active = lanes;
}

void transpose_matrix(Execution &x) {
    Tile tile;
    tile.put(x.source(1), false);
    tile.get(x.destination(), true);
}

}  // namespace

Handler select_matrix_move(Instruction &instruction) {
    if (instruction.opcode == "movmatrix") {
        return transpose_matrix;
    }
    const bool moves = instruction.opcode == "ldmatrix" || instruction.opcode == "stmatrix";
    return moves && instruction.has("m8n8") && instruction.has("b16") ? move_matrices : nullptr;
}

}  // namespace cuda_emulator
