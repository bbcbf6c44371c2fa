#pragma once

#include "common/host_device.h"
#include "math/box.h"
#include "math/exp.h"

namespace retinaface {

/// Centre and side of a square anchor, in pixels of the network's input.
struct Anchor {
    float cx, cy, size;
};

/// The anchor of `size` pixels in cell (row, column) of a level: centred in the cell.
RF_HOST_DEVICE Anchor anchor_at(int row, int column, int stride, float size) {
    float step = static_cast<float>(stride);
    return {(static_cast<float>(column) + 0.5f) * step, (static_cast<float>(row) + 0.5f) * step, size};
}

/// Probability of "face" from its logit margin (face minus background): the softmax of two classes.
RF_HOST_DEVICE float face_score(float margin) {
    return 1.0f / (1.0f + exact_exp(-margin));
}

/// SSD box coding with variances: centre deltas in units of variance * anchor, log sizes in variance.
/// Source: Pytorch_Retinaface utils/box_utils.py, decode, there in units of the image's size.
RF_HOST_DEVICE Box decode_box(const Anchor &anchor, float dx, float dy, float dw, float dh, float centre_variance,
                              float size_variance) {
    float cx = anchor.cx + dx * centre_variance * anchor.size;
    float cy = anchor.cy + dy * centre_variance * anchor.size;
    float width = anchor.size * exact_exp(dw * size_variance);
    float height = anchor.size * exact_exp(dh * size_variance);
    float x1 = cx - width * 0.5f;
    float y1 = cy - height * 0.5f;
    return {x1, y1, x1 + width, y1 + height};
}

/// One coordinate of a landmark; `centre` is the anchor's cx or cy.
RF_HOST_DEVICE float decode_landmark(float centre, float delta, float centre_variance, float size) {
    return centre + delta * centre_variance * size;
}

/// False for NaN and both infinities.
RF_HOST_DEVICE bool is_finite(float value) {
    return value - value == 0.0f;
}

}  // namespace retinaface
