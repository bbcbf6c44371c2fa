#pragma once

#include <cstdint>

#include "math/deform_sample.h"
#include "ops/cuda/common/rounding.cuh"
#include "ops/cuda/common/scalar.cuh"
#include "ops/cuda/common/warp.cuh"
#include "ops/cuda/deform_conv/arguments.cuh"

namespace retinaface {

/// Where a block's samples lie: of each (tap, pixel) the four interpolation weights, times the mask, and the first unit
/// of the upper left pixel in the image, modulo 2^32: that pixel may be outside. Pixels outside the map have a weight
/// of zero and are not read.
struct SamplePlaces {
    float4 *weights;
    uint32_t *units;
};

/// The output pixels of a block.
class DeformTile {
  public:
    __device__ DeformTile(const DeformConvPlan &plan, int index) : plan_(plan) {
        const int tile = index % plan.tiles;
        image = index / plan.tiles;
        row_ = tile / plan.tiles_x * plan.tile_h;
        column_ = tile % plan.tiles_x * plan.tile_w;
    }

    /// Index within the output map of a pixel of the tile; -1 where the tile has none.
    __device__ int output_pixel(int pixel) const {
        int y = pixel / plan_.tile_w;
        int row = row_ + y;
        int column = column_ + pixel - y * plan_.tile_w;
        bool exists = y < plan_.tile_h && row < plan_.out_height && column < plan_.out_width;
        return exists ? row * plan_.out_width + column : -1;
    }

    int image;

  private:
    const DeformConvPlan &plan_;
    int row_, column_;
};

/// Fills `places` for a span. Called by all threads of the block; needs a barrier before, unless nothing was read from
/// `places` since the last one, and after.
template <typename T>
__device__ void locate_samples(const DeformConvArgs<T> &args, const DeformTile &tile, int offset_group,
                               const DeformConvSpan &span, const SamplePlaces &places) {
    const DeformConvParams &p = args.params;
    const int64_t plane = static_cast<int64_t>(args.plan.out_height) * args.plan.out_width;
    const int64_t first_slot =
        (static_cast<int64_t>(tile.image) * p.offset_groups + offset_group) * args.plan.taps + span.first_tap;
    for (int i = thread_index(); i < span.taps * kDeformTilePixels; i += kDeformThreads) {
        DeformSample sample;
        const int pixel = tile.output_pixel(i % kDeformTilePixels);
        if (pixel >= 0) {
            const int64_t slot = first_slot + i / kDeformTilePixels;
            const int tap = span.first_tap + i / kDeformTilePixels;
            const int tap_y = pixel / args.plan.out_width * p.stride_h - p.pad_top + tap / p.kernel_w * p.dilation_h;
            const int tap_x = pixel % args.plan.out_width * p.stride_w - p.pad_left + tap % p.kernel_w * p.dilation_w;
            const float y = static_cast<float>(tap_y) + to_float(args.offset[2 * slot * plane + pixel]);
            const float x = static_cast<float>(tap_x) + to_float(args.offset[(2 * slot + 1) * plane + pixel]);
            const float scale = args.mask == nullptr ? 1.0f : to_float(args.mask[slot * plane + pixel]);
            if (deform_sample(y, x, p.height, p.width, scale, sample)) {
                const bool above = sample.y < 0, below = sample.y + 1 >= p.height;
                const bool left = sample.x < 0, right = sample.x + 1 >= p.width;
                sample.top_left = above || left ? 0.0f : sample.top_left;
                sample.top_right = above || right ? 0.0f : sample.top_right;
                sample.bottom_left = below || left ? 0.0f : sample.bottom_left;
                sample.bottom_right = below || right ? 0.0f : sample.bottom_right;
            }
        }
        places.weights[i] = make_float4(sample.top_left, sample.top_right, sample.bottom_left, sample.bottom_right);
        places.units[i] = static_cast<uint32_t>(sample.y * p.width + sample.x) * args.plan.pixel_units;
    }
}

/// One unit of a sample on its way: loaded from the four pixels around it, later mixed.
template <typename T>
class SampleUnit {
  public:
    /// Starts loading at a place. `x` points to this unit of the image's first pixel, null if it is beyond the
    /// channels, and then all values are zero.
    __device__ void load(const DeformConvPlan &plan, const uint4 *x, const SamplePlaces &places, int place) {
        weights_ = places.weights[place];
        const uint32_t first = places.units[place];
        top_left_ = load_if(x != nullptr && weights_.x != 0.0f, x, first);
        top_right_ = load_if(x != nullptr && weights_.y != 0.0f, x, first + plan.pixel_units);
        bottom_left_ = load_if(x != nullptr && weights_.z != 0.0f, x, first + plan.row_units);
        bottom_right_ = load_if(x != nullptr && weights_.w != 0.0f, x, first + plan.row_units + plan.pixel_units);
    }

    /// Interpolates in float32 and rounds once.
    __device__ uint4 mixed() const {
        return {mixed(weights_, top_left_.x, top_right_.x, bottom_left_.x, bottom_right_.x),
                mixed(weights_, top_left_.y, top_right_.y, bottom_left_.y, bottom_right_.y),
                mixed(weights_, top_left_.z, top_right_.z, bottom_left_.z, bottom_right_.z),
                mixed(weights_, top_left_.w, top_right_.w, bottom_left_.w, bottom_right_.w)};
    }

  private:
    static __device__ uint4 load_if(bool condition, const uint4 *x, uint32_t unit) {
        return condition ? __ldg(x + unit) : uint4{};
    }

    static __device__ float mixed(const float4 &w, float top_left, float top_right, float bottom_left,
                                  float bottom_right) {
        return fmaf(bottom_right, w.w, fmaf(bottom_left, w.z, fmaf(top_right, w.y, top_left * w.x)));
    }

    /// Of 32 bits: one float32, or two values of a 16-bit type.
    static __device__ uint32_t mixed(const float4 &w, uint32_t top_left, uint32_t top_right, uint32_t bottom_left,
                                     uint32_t bottom_right) {
        if constexpr (sizeof(T) == 4) {
            return __float_as_uint(mixed(w, __uint_as_float(top_left), __uint_as_float(top_right),
                                         __uint_as_float(bottom_left), __uint_as_float(bottom_right)));
        } else {
            const float2 a = unpack<T>(top_left), b = unpack<T>(top_right);
            const float2 c = unpack<T>(bottom_left), d = unpack<T>(bottom_right);
            return pack<T>(mixed(w, a.x, b.x, c.x, d.x), mixed(w, a.y, b.y, c.y, d.y));
        }
    }

    float4 weights_;
    uint4 top_left_, top_right_, bottom_left_, bottom_right_;
};

}  // namespace retinaface
