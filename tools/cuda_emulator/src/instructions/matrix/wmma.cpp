#include <algorithm>

#include "instructions/handlers.h"
#include "instructions/matrix/matrix.h"

// wmma.load, wmma.store and wmma.mma. Fragments are opaque, so their layout can be simple: each lane holds consecutive
// elements of the row-major tile.

namespace cuda_emulator {
namespace {

/// A tile in memory.
struct TileInMemory {
    u64 start;
    int rows, columns, element_bytes;
    bool row_major;
    s64 stride;  ///< elements between the starts of rows or columns

    u64 address(int row, int column) const {
        const s64 place = row_major ? row * stride + column : column * stride + row;
        return start + static_cast<u64>(place * element_bytes);
    }
};

TileInMemory tile_of(Execution &x, bool stores) {
    const Instruction &instruction = *x.instruction;
    MatrixShape shape;
    matrix_shape_of(instruction, shape);
    const std::string &which = instruction.modifiers[1];
    const Operand &memory = instruction.operands[stores ? 0 : 1];
    const int lane = x.first_lane();
    u64 base = x.source(memory.parts[0])[lane];
    if (instruction.space == Space::kShared) {
        base = static_cast<u32>(base);
    }
    TileInMemory tile;
    tile.start = base + memory.offset;
    tile.rows = which == "b" ? shape.k : shape.m;
    tile.columns = which == "a" ? shape.k : shape.n;
    tile.element_bytes = instruction.types.back().bytes();
    tile.row_major = instruction.has("row");
    const bool has_stride = instruction.operands.size() > 2;
    tile.stride = has_stride ? static_cast<s32>(x.source(2)[lane]) : tile.row_major ? tile.columns : tile.rows;
    return tile;
}

/// Counts the tile's traffic: 16 bytes per lane, in the order of memory. A GPU may use another order.
void count_tile(Execution &x, const TileInMemory &tile, bool stores) {
    const int outer = tile.row_major ? tile.rows : tile.columns;
    const int line_bytes = (tile.row_major ? tile.columns : tile.rows) * tile.element_bytes;
    const int piece = std::min(16, line_bytes);
    u64 addresses[kWarp];
    int count = 0;
    const u32 lanes = x.active;
    const auto count_pieces = [&] {
        x.active = count == kWarp ? kFullMask : lane_bit(count) - 1;
        x.count_access(addresses, piece, stores);
        x.active = lanes;
        count = 0;
    };
    for (int line = 0; line < outer; line++) {
        const u64 start = tile.start + static_cast<u64>(line) * tile.stride * tile.element_bytes;
        for (int offset = 0; offset < line_bytes; offset += piece) {
            addresses[count++] = start + offset;
            if (count == kWarp) {
                count_pieces();
            }
        }
    }
    if (count > 0) {
        count_pieces();
    }
}

void move_tile(Execution &x) {
    const Instruction &instruction = *x.instruction;
    const bool stores = instruction.modifiers[0] == "store";
    const TileInMemory tile = tile_of(x, stores);
    const Operand &fragment = instruction.operands[stores ? 1 : 0];
    const int bytes = tile.element_bytes, per_register = std::max(1, 4 / bytes);
    const int total = tile.rows * tile.columns, per_lane = total / kWarp;
    for (int i = 0; i < total; i++) {
        const int lane = i / per_lane, element = i % per_lane;
        const u64 address = tile.address(i / tile.columns, i % tile.columns);
        u64 &bits = x.destination(fragment.parts[element / per_register])[lane];
        const int shift = 8 * bytes * (element % per_register);
        if (stores) {
            x.check_store(address, bytes, lane);
            x.store(address, bits >> shift, bytes, lane);
        } else {
            x.check_load(address, bytes, lane);
            const u64 others = ~(mask_to(~u64(0), 8 * bytes) << shift);
            bits = (bits & others & 0xffffffff) | x.load(address, bytes, lane) << shift;
        }
    }
    if (x.block.statistics) {
        count_tile(x, tile, stores);
    }
}

void multiply_tiles(Execution &x) {
    const Instruction &instruction = *x.instruction;
    MatrixShape shape;
    matrix_shape_of(instruction, shape);
    const std::vector<Type> &types = instruction.types;
    const Type half = {Kind::kFloat, 16};
    const bool names_factors = types.size() > 2;  // with halves, the types of the factors are not written
    const Type a_type = names_factors ? types[1] : half, b_type = names_factors ? types[2] : half;
    const Type d_type = types[0], c_type = types.back();
    const int per_register = 32 / a_type.bits;
    const auto load_factor = [&](const Operand &operand, int elements, Type type) {
        const auto registers = fragment_of(x, operand);
        const int per_lane = elements / kWarp;
        std::vector<double> values(elements);
        for (int i = 0; i < elements; i++) {
            const int lane = i / per_lane, element = i % per_lane;
            values[i] = factor(type, static_cast<u32>(registers[element / per_register][lane]), element % per_register);
        }
        return values;
    };
    const auto a = load_factor(instruction.operands[1], shape.m * shape.k, a_type);
    const auto b = load_factor(instruction.operands[2], shape.k * shape.n, b_type);
    const auto c_registers = fragment_of(x, instruction.operands[3]);
    const int sums = shape.m * shape.n, per_lane = sums / kWarp;
    std::vector<double> c(sums);
    for (int i = 0; i < sums; i++) {
        c[i] = sum(c_type, c_registers, i % per_lane, i / per_lane);
    }
    multiply_add(x, shape, a.data(), b.data(), c.data());
    count_product(x, shape);
    for (int i = 0; i < sums; i++) {
        put_sum(x, instruction.operands[0], i % per_lane, i / per_lane, c[i], d_type);
    }
}

}  // namespace

Handler select_wmma(Instruction &instruction) {
    MatrixShape shape;
    if (instruction.opcode != "wmma" || instruction.modifiers.size() < 2 || !matrix_shape_of(instruction, shape)) {
        return nullptr;
    }
    for (const char *unsupported : {"s4", "u4", "b1", "f64"}) {
        if (instruction.has(unsupported)) {
            return nullptr;
        }
    }
    if (instruction.modifiers[0] == "load" || instruction.modifiers[0] == "store") {
        return move_tile;
    }
    return instruction.types.size() >= 2 ? multiply_tiles : nullptr;
}

}  // namespace cuda_emulator
