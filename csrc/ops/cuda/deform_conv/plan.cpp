#include "ops/cuda/deform_conv/plan.h"

#include <algorithm>
#include <climits>

namespace retinaface {
namespace {

constexpr int kMaxMargin = 4;  // pixels; larger offsets are rare and read global memory
constexpr int kAlignment = 128;

int ceil_div(int a, int b) {
    return (a + b - 1) / b;
}
int aligned(int bytes) {
    return ceil_div(bytes, kAlignment) * kAlignment;
}

/// Rows (or columns) of the input that `tile` output rows read if offsets are at most `margin`. At most `side`, those
/// of the map, and one row of zeros on either side.
int window_side(int tile, int stride, int kernel, int dilation, int margin, int side) {
    int64_t reach = static_cast<int64_t>(tile - 1) * stride + static_cast<int64_t>(kernel - 1) * dilation;
    return static_cast<int>(std::min<int64_t>(reach + 2 * margin + 1, side + int64_t{2}));
}

/// Chooses the shape with the fewest tiles; among those, the one with the smallest window.
void choose_tile(const DeformConvParams &p, DeformConvPlan &plan) {
    int64_t best_tiles = INT64_MAX;
    int64_t best_window = INT64_MAX;
    for (int tile_w = std::min(plan.out_width, kDeformTilePixels); tile_w > 0; --tile_w) {
        int tile_h = std::min(plan.out_height, kDeformTilePixels / tile_w);
        int tiles_x = ceil_div(plan.out_width, tile_w);
        int tiles_y = ceil_div(plan.out_height, tile_h);
        int64_t tiles = static_cast<int64_t>(tiles_x) * tiles_y;
        int64_t window =
            static_cast<int64_t>(window_side(tile_h, p.stride_h, p.kernel_h, p.dilation_h, kMaxMargin, p.height)) *
            window_side(tile_w, p.stride_w, p.kernel_w, p.dilation_w, kMaxMargin, p.width);
        if (tiles < best_tiles || (tiles == best_tiles && window < best_window)) {
            best_tiles = tiles;
            best_window = window;
            plan.tile_h = tile_h;
            plan.tile_w = tile_w;
            plan.tiles_x = tiles_x;
            plan.tiles_y = tiles_y;
        }
    }
}

void lay_out_shared_memory(const DeformConvFootprint &footprint, DeformConvPlan &plan) {
    int samples = plan.taps_per_pass * kDeformTilePixels;
    int window_pixels = plan.window_h * plan.window_w;
    plan.positions_at = samples * 4 * static_cast<int>(sizeof(float));
    plan.block_at = plan.positions_at + samples * static_cast<int>(sizeof(int));
    plan.sources_at = plan.block_at + kAlignment;
    plan.weight_index_at = plan.sources_at + aligned(window_pixels * static_cast<int>(sizeof(int)));
    plan.windows_at =
        plan.weight_index_at + aligned(plan.taps_per_pass * footprint.channels * static_cast<int>(sizeof(int)));
    plan.window_bytes = aligned(window_pixels * footprint.pixel_bytes);
    plan.tiles_at = plan.windows_at + 2 * plan.window_bytes;
    plan.tile_bytes = footprint.tile_bytes;
    plan.shared_bytes = plan.tiles_at + 2 * plan.tile_bytes;
}

}  // namespace

int deform_conv_taps_per_pass(const DeformConvParams &p) {
    int taps = p.kernel_h * p.kernel_w;
    return ceil_div(taps, ceil_div(taps, kDeformMaxTaps));
}

DeformConvPlan make_deform_conv_plan(const DeformConvParams &p, const DeformConvFootprint &footprint,
                                     int shared_limit) {
    DeformConvPlan plan = {};
    plan.out_height = deform_conv_out_height(p);
    plan.out_width = deform_conv_out_width(p);
    plan.taps_per_pass = deform_conv_taps_per_pass(p);
    choose_tile(p, plan);

    // The widest margin that fits. If not even the undeformed taps fit (large dilations), a minimal window.
    for (plan.margin = kMaxMargin; plan.margin >= 0; --plan.margin) {
        plan.window_h = window_side(plan.tile_h, p.stride_h, p.kernel_h, p.dilation_h, plan.margin, p.height);
        plan.window_w = window_side(plan.tile_w, p.stride_w, p.kernel_w, p.dilation_w, plan.margin, p.width);
        if (static_cast<int64_t>(plan.window_h) * plan.window_w * footprint.pixel_bytes > shared_limit) {
            continue;
        }
        lay_out_shared_memory(footprint, plan);
        if (plan.shared_bytes <= shared_limit) {
            break;
        }
    }
    if (plan.margin < 0) {
        plan.margin = 0;
        plan.window_h = plan.window_w = 2;
        lay_out_shared_memory(footprint, plan);
    }

    auto strides = [&](int channels, int64_t pixels, int64_t &image, int64_t &channel, int64_t &pixel) {
        bool channels_last = p.layout == Layout::kHwc8;
        int stored = channels_last ? (channels + 7) / 8 * 8 : channels;
        image = stored * pixels;
        channel = channels_last ? 1 : pixels;
        pixel = channels_last ? stored : 1;
    };
    strides(p.in_channels, static_cast<int64_t>(p.height) * p.width, plan.x_image, plan.x_channel, plan.x_pixel);
    strides(p.out_channels, static_cast<int64_t>(plan.out_height) * plan.out_width, plan.y_image, plan.y_channel,
            plan.y_pixel);
    plan.weight_depth = static_cast<int64_t>(p.in_channels / p.groups) * p.kernel_h * p.kernel_w;
    return plan;
}

}  // namespace retinaface
