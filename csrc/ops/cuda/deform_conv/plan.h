#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/deform_conv.h"

namespace retinaface {

constexpr int kDeformTilePixels = 64;  // output pixels of one block
constexpr int kDeformThreads = 512;
constexpr int kDeformUnitBytes = 16;  // what a thread loads of a pixel at once
constexpr int kDeformRowBytes = 128;  // of a pixel's or an output channel's part of one step
constexpr int kDeformRowUnits = kDeformRowBytes / kDeformUnitBytes;
#ifdef RETINAFACE_WGMMA
constexpr int kDeformBarrierBytes = 8;  // of the barrier that TMA counts bytes at, in shared memory
#else
constexpr int kDeformBarrierBytes = 0;
#endif
constexpr int kDeformMaxTaps = 10;  // taps of one pass; larger kernels take several passes
// Of the partial sums of all blocks if K is split, which only small maps are. Their number depends on the device, the
// workspace must not.
constexpr size_t kDeformPartialBytes = size_t{8} << 20;
constexpr int kDeformSmallestCoTile = 64;
// Tiles whose partial sums fit: at least two blocks share one.
constexpr size_t kDeformMaxTickets =
    kDeformPartialBytes / (2 * kDeformSmallestCoTile * kDeformTilePixels * sizeof(float));

/// How a convolution is computed as a matrix product, [pixels] x [k] x [output channels].
///
/// The input channels of a group are cut into pieces, which have one offset group each, and a piece into chunks of up
/// to kDeformRowBytes. One step multiplies the samples of one tap in one chunk. The steps of a group are ordered by
/// piece, pass (a range of taps), chunk and tap: the taps of a chunk read nearly the same pixels, which then come from
/// the L1 cache.
struct DeformConvPlan {
    int out_height, out_width;
    int tile_h, tile_w;           // tile_h * tile_w <= kDeformTilePixels
    int tiles_x, tiles_y, tiles;  // of an image
    int taps, taps_per_pass;
    int piece_channels, pieces;  // pieces of one group
    int chunk_channels, chunks;  // chunks of one piece
    int steps;                   // of one group: pieces * chunks * taps
    int co_tile, co_tiles;       // output channels of a block; blocks for one group
    int weight_rows;             // of a group in the packed weights: out_channels / groups, filled up to whole tiles
    int splits;                  // blocks that share the steps of one tile
    bool copies_x;               // to the workspace: x is not channels-last, or pieces are no multiples of 16 bytes
    // Of x as the main kernel reads it, channels last: units of kDeformUnitBytes.
    int piece_units, pixel_units;
    uint32_t row_units;  // modulo 2^32
    int64_t x_units;     // of an image
    // Of x as it is given, and of y: in elements.
    int64_t given_image, given_channel, given_pixel;
    int64_t y_image, y_channel, y_pixel;
};

/// What the plan needs to know of a device.
struct DeformConvDevice {
    int multiprocessors = 0;
    int shared_limit = 0;  // bytes of a block
};

/// Bytes of shared memory of a block.
int deform_conv_shared_bytes(int co_tile, int taps_per_pass);

/// With co_tile, co_tiles and splits of one, which depend on the device.
DeformConvPlan make_deform_conv_plan(const DeformConvParams &params);

/// Sets co_tile, co_tiles and splits for the shortest time on a device.
void divide_among_blocks(const DeformConvParams &params, const DeformConvDevice &device, DeformConvPlan &plan);

}  // namespace retinaface
