#pragma once

#include <cmath>
#include <cstdint>

#include "common/host_device.h"
#include "math/bilinear.h"
#include "math/similarity.h"

namespace retinaface {

constexpr int kPositionBits = 32;  // of a fraction of a pixel

/// Where the pixels of a crop lie in its image, in 2^-32 pixels.
struct CropSampling {
    bool usable = false;
    int64_t x = 0, y = 0;    // of the crop's first pixel
    int64_t dx = 0, dy = 0;  // to the next pixel of the row; to the next row: -dy, dx
};

RF_HOST_DEVICE int64_t to_position(double pixels) {
    constexpr double kOne = static_cast<double>(int64_t{1} << kPositionBits);
    return static_cast<int64_t>(floor(pixels * kOne + 0.5));
}

/// A crop whose pixels are 2^-20 to 2^14 pixels of the image apart, and begin at most 2^30 pixels from it, is usable:
/// larger steps would meet an image once at most, smaller ones have few bits. So a position of a crop of 2^12 pixels is
/// below 2^31 pixels, and fits 64 bits. Comparisons with NaN are false.
RF_HOST_DEVICE CropSampling crop_sampling(const Similarity &crop_to_image) {
    constexpr double kSmallestStep = 1.0 / (1 << 20), kLargestStep = 1 << 14, kFarthest = 1 << 30;
    const double a = fabs(crop_to_image.a), b = fabs(crop_to_image.b);
    const bool usable = a <= kLargestStep && b <= kLargestStep && (a >= kSmallestStep || b >= kSmallestStep) &&
                        fabs(crop_to_image.offset_x) <= kFarthest && fabs(crop_to_image.offset_y) <= kFarthest;
    if (!usable) {
        return {};
    }
    return {true, to_position(crop_to_image.offset_x), to_position(crop_to_image.offset_y),
            to_position(crop_to_image.a), to_position(crop_to_image.b)};
}

/// Rounds a position to 1/2048 of a pixel: the pixel before it, and the weight of the next one.
struct CropTap {
    int low;
    int weight;
};

RF_HOST_DEVICE CropTap crop_tap(int64_t position) {
    constexpr int kDropped = kPositionBits - kBilinearBits;
    const int64_t rounded = (position + (int64_t{1} << (kDropped - 1))) >> kDropped;
    return {static_cast<int>(rounded >> kBilinearBits), static_cast<int>(rounded & (kBilinearOne - 1))};
}

}  // namespace retinaface
