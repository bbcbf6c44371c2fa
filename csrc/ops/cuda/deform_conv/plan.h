#pragma once

#include <cstdint>

#include "ops/deform_conv.h"

namespace retinaface {

constexpr int kDeformTilePixels = 64;  // output pixels of one block
constexpr int kDeformThreads = 256;
constexpr int kDeformPieces = 4;    // threads that gather for one pixel, each a quarter of the channels
constexpr int kDeformMaxTaps = 10;  // taps of one pass; larger kernels take several passes

/// How the launcher divides a convolution; the same for all blocks.
struct DeformConvPlan {
    int out_height, out_width;
    int tile_h, tile_w;      // tile_h * tile_w <= kDeformTilePixels
    int tiles_x, tiles_y;    // per image
    int window_h, window_w;  // the part of the input that a block keeps in shared memory
    int margin;              // pixels of the window beyond the undeformed taps
    int taps_per_pass;
    // Bytes from the start of shared memory.
    int positions_at, block_at, sources_at, weight_index_at, windows_at, tiles_at;
    int window_bytes, tile_bytes;  // of one of two buffers
    int shared_bytes;
    // In elements.
    int64_t x_image, x_channel, x_pixel;
    int64_t y_image, y_channel, y_pixel;
    int64_t weight_depth;  // weights of one output channel
};

/// What a kernel instance stores in shared memory.
struct DeformConvFootprint {
    int channels;     // gathered per step
    int pixel_bytes;  // of one pixel of the window: channels * size of an element
    int tile_bytes;   // of the gathered samples, one buffer
};

/// Taps of one pass: all, or if there are more than kDeformMaxTaps, an equal share in each pass.
int deform_conv_taps_per_pass(const DeformConvParams &params);

DeformConvPlan make_deform_conv_plan(const DeformConvParams &params, const DeformConvFootprint &footprint,
                                     int shared_limit);

}  // namespace retinaface
