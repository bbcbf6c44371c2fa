#pragma once

#include "common/host_device.h"
#include "math/box.h"

namespace retinaface {

/// Mean of boxes weighted by score. Floating-point sums depend on the order: add the kept box first, then the others in
/// the order of the candidates.
struct BoxVote {
    float x1 = 0.0f, y1 = 0.0f, x2 = 0.0f, y2 = 0.0f;
    float weight = 0.0f;

    RF_HOST_DEVICE void add(const Box &box, float score) {
        x1 += score * box.x1;
        y1 += score * box.y1;
        x2 += score * box.x2;
        y2 += score * box.y2;
        weight += score;
    }

    /// Returns `kept` unchanged if the sum of the scores is 0 or negative.
    RF_HOST_DEVICE Box mean(const Box &kept) const {
        return weight > 0.0f ? Box{x1 / weight, y1 / weight, x2 / weight, y2 / weight} : kept;
    }
};

}  // namespace retinaface
