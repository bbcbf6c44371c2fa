#pragma once

#include <cstdint>

#include "ops/cuda/deform_conv/plan.h"

// Tiles in shared memory are rows of kDeformRowBytes in what Hopper calls the 128-byte swizzle: TMA writes it, wgmma
// reads it, and without these it spares ldmatrix bank conflicts. They begin at multiples of 1024 bytes.

namespace retinaface {

/// Where a 16-byte unit of a row is, from the tile's begin. Of eight rows that follow each other, which a matrix
/// instruction loads at once, the same units lie in different banks.
constexpr uint32_t swizzled(int row, int unit) {
    return static_cast<uint32_t>(row * kDeformRowBytes + (unit ^ (row % 8)) * kDeformUnitBytes);
}

/// Describes rows to wgmma, in groups of eight that follow each other. Adding 2 moves on by 32 bytes of every row.
constexpr uint64_t matrix_descriptor(uint32_t address) {
    constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
    constexpr uint64_t kGroupBytes = 8 * kDeformRowBytes;
    return kSwizzle128 | (kGroupBytes >> 4) << 32 | uint64_t{1} << 16 | (address & 0x3ffff) >> 4;
}

/// The row of the packed weights, [group][step][output channel].
constexpr uint32_t weight_row(const DeformConvPlan &plan, int group, int step, int channel) {
    return static_cast<uint32_t>((group * plan.steps + step) * plan.weight_rows + channel);
}

/// Bytes of the weights that a block needs for a step.
constexpr uint32_t weight_tile_bytes(int co_tile) {
    return static_cast<uint32_t>(co_tile * kDeformRowBytes);
}

}  // namespace retinaface
