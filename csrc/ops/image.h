#pragma once

#include <cstdint>

namespace retinaface {

constexpr int kMaxImageSide = 16384;  // fixed-point coordinates stay far below 64 bits

/// One uint8 image, HWC with 3 channels; rows are `pitch_bytes` apart.
struct ImageView {
    const uint8_t *data = nullptr;
    int height = 0;
    int width = 0;
    int64_t pitch_bytes = 0;
};

/// Whether a side has 1 to kMaxImageSide pixels.
bool is_image_side(int length);

/// Throws InvalidArgument naming the image that has no data, or a size or pitch out of range.
void require_images(const ImageView *images, int count);

}  // namespace retinaface
