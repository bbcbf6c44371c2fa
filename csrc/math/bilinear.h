#pragma once

#include <cstdint>

#include "common/host_device.h"

namespace retinaface {

constexpr int kBilinearBits = 11;
constexpr int kBilinearOne = 1 << kBilinearBits;

/// The two source pixels of one output pixel along one axis and the weight of the second, in 1/2048.
struct BilinearTap {
    int low, high;
    int weight;
};

/// Output pixel `i` of `out_size` reads at (i + 0.5) * in_size / out_size - 0.5, clamped to the image. Computed in
/// integers, so that CPU and GPU agree.
RF_HOST_DEVICE BilinearTap bilinear_tap(int i, int in_size, int out_size) {
    int64_t denominator = 2 * static_cast<int64_t>(out_size);
    int64_t numerator = (2 * static_cast<int64_t>(i) + 1) * in_size - out_size;
    if (numerator <= 0) {
        return {0, 0, 0};
    }
    int low = static_cast<int>(numerator / denominator);
    if (low >= in_size - 1) {
        return {in_size - 1, in_size - 1, 0};
    }
    int64_t rest = numerator - low * denominator;
    int weight = static_cast<int>((rest * kBilinearOne + out_size) / denominator);
    return {low, low + 1, weight};
}

/// Mixes two values; the weight is that of `high`, in 1/2048. The result is in 1/2048 of the values' unit.
RF_HOST_DEVICE int bilinear_blend(int low, int high, int weight) {
    return low * (kBilinearOne - weight) + high * weight;
}

/// Rounds a value that was blended along both axes to a grey level.
RF_HOST_DEVICE int bilinear_round(int blended) {
    return (blended + (1 << (2 * kBilinearBits - 1))) >> (2 * kBilinearBits);
}

/// Mixes four grey levels. Rounds only at the end, so the order of the axes does not matter. The blended value is at
/// most 255 * 2^22, which fits an int.
RF_HOST_DEVICE int bilinear_mix(int top_left, int top_right, int bottom_left, int bottom_right, int weight_x,
                                int weight_y) {
    return bilinear_round(bilinear_blend(bilinear_blend(top_left, top_right, weight_x),
                                         bilinear_blend(bottom_left, bottom_right, weight_x), weight_y));
}

/// A grey level as the network's input.
RF_HOST_DEVICE float normalise(int level, float mean, float std) {
    return (static_cast<float>(level) - mean) / std;
}

}  // namespace retinaface
