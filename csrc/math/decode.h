#pragma once

#include "common/host_device.h"
#include "math/box.h"
#include "math/exp.h"

namespace retinaface {

/// Centre and sides of an anchor, in pixels of the network's input.
struct Anchor {
    float cx, cy, width, height;
};

/// The anchor with the given sides, centred in cell (row, column) of a level.
RF_HOST_DEVICE Anchor anchor_at(int row, int column, int stride, float width, float height) {
    float step = static_cast<float>(stride);
    return {(static_cast<float>(column) + 0.5f) * step, (static_cast<float>(row) + 0.5f) * step, width, height};
}

/// Probability of "face" from its logit margin (face minus background): the softmax of two classes.
RF_HOST_DEVICE float face_score(float margin) {
    return 1.0f / (1.0f + exact_exp(-margin));
}

/// Applies box deltas to an anchor. Returns centre and sides, since in a cascade the result is the next stage's anchor.
/// SSD box coding with variances: centre deltas in units of variance * side, log sizes in units of variance.
/// Source: Pytorch_Retinaface utils/box_utils.py, decode, there in units of the image's size.
RF_HOST_DEVICE Anchor move_anchor(const Anchor &anchor, const float *deltas, float centre_variance,
                                  float size_variance) {
    return {anchor.cx + deltas[0] * centre_variance * anchor.width,
            anchor.cy + deltas[1] * centre_variance * anchor.height,
            anchor.width * exact_exp(deltas[2] * size_variance), anchor.height * exact_exp(deltas[3] * size_variance)};
}

RF_HOST_DEVICE Box box_of(const Anchor &anchor) {
    float x1 = anchor.cx - anchor.width * 0.5f;
    float y1 = anchor.cy - anchor.height * 0.5f;
    return {x1, y1, x1 + anchor.width, y1 + anchor.height};
}

/// Coordinate `i` of the landmarks, in the order x, y of the first point, x, y of the second, ...
RF_HOST_DEVICE float decode_landmark(const Anchor &anchor, int i, float delta, float centre_variance) {
    return i % 2 == 0 ? anchor.cx + delta * centre_variance * anchor.width
                      : anchor.cy + delta * centre_variance * anchor.height;
}

/// False for NaN and both infinities.
RF_HOST_DEVICE bool is_finite(float value) {
    return value - value == 0.0f;
}

}  // namespace retinaface
