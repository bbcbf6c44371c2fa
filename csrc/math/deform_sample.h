#pragma once

#include <cmath>

#include "common/host_device.h"

namespace retinaface {

/// A point between four pixels: the upper left one, which may be at -1, and the weight of each.
struct DeformSample {
    int y = 0, x = 0;
    float top_left = 0.0f, top_right = 0.0f, bottom_left = 0.0f, bottom_right = 0.0f;
};

/// Sets `sample` to the point (y, x) of a height * width map, its weights multiplied by `scale`. Pixels outside the map
/// count as zero. Returns false, and leaves `sample` unchanged, if the point is one pixel or more outside the map or
/// NaN: it then contributes nothing.
RF_HOST_DEVICE bool deform_sample(float y, float x, int height, int width, float scale, DeformSample &sample) {
    // Before the conversion to int, which is undefined for huge values and NaN.
    if (!(y > -1.0f && x > -1.0f && y < static_cast<float>(height) && x < static_cast<float>(width))) {
        return false;
    }
    float floor_y = floorf(y);
    float floor_x = floorf(x);
    float bottom = (y - floor_y) * scale;
    float top = (1.0f - (y - floor_y)) * scale;
    float right = x - floor_x;
    float left = 1.0f - right;
    sample = {
        static_cast<int>(floor_y), static_cast<int>(floor_x), top * left, top * right, bottom * left, bottom * right};
    return true;
}

}  // namespace retinaface
