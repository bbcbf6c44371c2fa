#pragma once

#include "common/host_device.h"

namespace retinaface {

/// A coordinate in the network's input, in pixels of the image that was letterboxed.
RF_HOST_DEVICE float unletterbox(float value, float pad, float scale) {
    return (value - pad) / scale;
}

}  // namespace retinaface
