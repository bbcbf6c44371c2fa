#pragma once

#include "common/host_device.h"

namespace retinaface {

/// Maps a coordinate of the network's input to pixels of the letterboxed image. `factor` is the image's side divided by
/// the resized side. The resized sides are whole pixels, so the two axes have different factors.
RF_HOST_DEVICE float unletterbox(float value, float pad, float factor) {
    return (value - pad) * factor;
}

}  // namespace retinaface
