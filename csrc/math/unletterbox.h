#pragma once

#include "common/host_device.h"

namespace retinaface {

/// A coordinate in the network's input, in pixels of the image that was letterboxed. `factor` is the image's side over
/// the resized side, which was rounded to whole pixels: each axis has its own.
RF_HOST_DEVICE float unletterbox(float value, float pad, float factor) {
    return (value - pad) * factor;
}

}  // namespace retinaface
