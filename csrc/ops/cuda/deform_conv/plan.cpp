#include "ops/cuda/deform_conv/plan.h"

#include <algorithm>
#include <climits>
#include <numeric>

#include "common/dtype.h"

namespace retinaface {
namespace {

constexpr int kCoTiles[] = {256, 128, kDeformSmallestCoTile};
constexpr int kMaxSplits = 16;

int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/// Chooses the shape with the fewest tiles; among those, the one whose taps span the fewest pixels.
void choose_tile(const DeformConvParams &p, DeformConvPlan &plan) {
    auto span = [](int tile, int stride, int kernel, int dilation) {
        return int64_t{tile - 1} * stride + int64_t{kernel - 1} * dilation + 1;
    };
    int64_t best_tiles = INT64_MAX;
    int64_t best_span = INT64_MAX;
    for (int tile_w = std::min(plan.out_width, kDeformTilePixels); tile_w > 0; --tile_w) {
        int tile_h = std::min(plan.out_height, kDeformTilePixels / tile_w);
        int tiles_x = static_cast<int>(ceil_div(plan.out_width, tile_w));
        int tiles_y = static_cast<int>(ceil_div(plan.out_height, tile_h));
        int64_t tiles = int64_t{tiles_x} * tiles_y;
        int64_t pixels =
            span(tile_h, p.stride_h, p.kernel_h, p.dilation_h) * span(tile_w, p.stride_w, p.kernel_w, p.dilation_w);
        if (tiles < best_tiles || (tiles == best_tiles && pixels < best_span)) {
            best_tiles = tiles;
            best_span = pixels;
            plan.tile_h = tile_h;
            plan.tile_w = tile_w;
            plan.tiles_x = tiles_x;
            plan.tiles_y = tiles_y;
            plan.tiles = tiles_x * tiles_y;
        }
    }
}

}  // namespace

int deform_conv_shared_bytes(int co_tile, int taps_per_pass) {
    const int buffers = 2 * (co_tile + kDeformTilePixels) * kDeformRowBytes;
    const int places = taps_per_pass * kDeformTilePixels * static_cast<int>(4 * sizeof(float) + sizeof(int));
    return buffers + places + kDeformBarrierBytes;
}

DeformConvPlan make_deform_conv_plan(const DeformConvParams &p) {
    DeformConvPlan plan = {};
    plan.out_height = deform_conv_out_height(p);
    plan.out_width = deform_conv_out_width(p);
    choose_tile(p, plan);

    plan.taps = p.kernel_h * p.kernel_w;
    plan.taps_per_pass = static_cast<int>(ceil_div(plan.taps, ceil_div(plan.taps, kDeformMaxTaps)));
    const int group_channels = p.in_channels / p.groups;
    // Boundaries of groups and of offset groups are multiples of this, whichever kind is the smaller.
    plan.piece_channels = std::gcd(group_channels, p.in_channels / p.offset_groups);
    plan.pieces = group_channels / plan.piece_channels;
    const int element_bytes = static_cast<int>(size_of(p.dtype));
    const int unit = kDeformUnitBytes / element_bytes;
    plan.chunk_channels = kDeformRowBytes / element_bytes;
    plan.chunks = static_cast<int>(ceil_div(plan.piece_channels, plan.chunk_channels));
    plan.steps = plan.pieces * plan.chunks * plan.taps;

    const bool channels_last = p.layout == Layout::kHwc8;
    auto strides = [&](int channels, int64_t pixels, int64_t &image, int64_t &channel, int64_t &pixel) {
        const int64_t stored = channels_last ? ceil_div(channels, 8) * 8 : channels;
        image = stored * pixels;
        channel = channels_last ? 1 : pixels;
        pixel = channels_last ? stored : 1;
    };
    const int64_t pixels = int64_t{p.height} * p.width;
    strides(p.in_channels, pixels, plan.given_image, plan.given_channel, plan.given_pixel);
    strides(p.out_channels, int64_t{plan.out_height} * plan.out_width, plan.y_image, plan.y_channel, plan.y_pixel);
    plan.copies_x = !channels_last || plan.piece_channels % unit != 0;
    plan.piece_units = static_cast<int>(ceil_div(plan.piece_channels, unit));
    plan.pixel_units =
        plan.copies_x ? plan.piece_units * plan.pieces * p.groups : static_cast<int>(plan.given_pixel / unit);
    plan.row_units = static_cast<uint32_t>(p.width) * plan.pixel_units;
    plan.x_units = plan.pixel_units * pixels;
    // A multiple of every co_tile that it is not smaller than.
    const int group_outputs = p.out_channels / p.groups;
    plan.weight_rows = group_outputs <= 64    ? 64
                       : group_outputs <= 128 ? 128
                                              : static_cast<int>(ceil_div(group_outputs, 256) * 256);
    plan.co_tile = kCoTiles[0];
    plan.co_tiles = static_cast<int>(ceil_div(p.out_channels / p.groups, plan.co_tile));
    plan.splits = 1;
    return plan;
}

// The costs are nanoseconds that benchmarks/kernels/model finds for a block on an H100, where latency binds. Other
// devices differ in all of them, but hardly in their ratios, which are what decides.
void divide_among_blocks(const DeformConvParams &p, const DeformConvDevice &device, DeformConvPlan &plan) {
    constexpr double kBlock = 3200;          // start, places of the samples, end
    constexpr double kStep = 945;            // gathering and the barrier
    constexpr double kStepOfChannel = 0.75;  // multiplying, for each output channel
    constexpr double kSplit = 1000;          // waiting for the other blocks' sums
    constexpr double kSplitOfChannel = 1;    // adding one block's sums, for each output channel
    double best = 1e300;
    const int64_t tiles = int64_t{plan.tiles} * p.batch * p.groups;
    DeformConvPlan result = plan;
    for (int co_tile : kCoTiles) {
        if (co_tile > plan.weight_rows || deform_conv_shared_bytes(co_tile, plan.taps_per_pass) > device.shared_limit) {
            continue;
        }
        const int64_t co_tiles = ceil_div(p.out_channels / p.groups, co_tile);
        for (int splits = 1; splits <= std::min(kMaxSplits, plan.steps); ++splits) {
            const int64_t blocks = tiles * co_tiles * splits;
            if (splits > 1 && blocks * co_tile * kDeformTilePixels * sizeof(float) > kDeformPartialBytes) {
                break;
            }
            const int64_t waves = ceil_div(blocks, device.multiprocessors);
            const double steps = static_cast<double>(ceil_div(plan.steps, splits));
            double cost = static_cast<double>(waves) * (kBlock + steps * (kStep + kStepOfChannel * co_tile));
            if (splits > 1) {
                // The last block of each tile, one after the other on the busiest multiprocessor.
                cost += static_cast<double>(ceil_div(tiles * co_tiles, device.multiprocessors)) *
                        (kSplit + splits * kSplitOfChannel * co_tile);
            }
            if (cost < best) {
                best = cost;
                result.co_tile = co_tile;
                result.co_tiles = static_cast<int>(co_tiles);
                result.splits = splits;
            }
        }
    }
    plan = result;
}

}  // namespace retinaface
