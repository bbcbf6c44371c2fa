#pragma once

#include "common/host_device.h"

namespace retinaface {

/// Corners in pixels of the network's input. The width is x2 - x1, without + 1.
struct Box {
    float x1, y1, x2, y2;
};

RF_HOST_DEVICE float area(const Box &box) {
    float width = box.x2 - box.x1;
    float height = box.y2 - box.y1;
    return (width > 0.0f ? width : 0.0f) * (height > 0.0f ? height : 0.0f);
}

/// Intersection over union in [0, 1]; 0 if both boxes have no area.
RF_HOST_DEVICE float iou(const Box &a, float area_a, const Box &b, float area_b) {
    float x1 = a.x1 > b.x1 ? a.x1 : b.x1;
    float y1 = a.y1 > b.y1 ? a.y1 : b.y1;
    float x2 = a.x2 < b.x2 ? a.x2 : b.x2;
    float y2 = a.y2 < b.y2 ? a.y2 : b.y2;
    float intersection = area(Box{x1, y1, x2, y2});
    float both = area_a + area_b - intersection;
    return both > 0.0f ? intersection / both : 0.0f;
}

/// False only if iou() is 0. Four comparisons, after which most pairs need nothing else. Without short circuit: one
/// branch is cheaper than four.
RF_HOST_DEVICE bool may_meet(const Box &a, const Box &b) {
    return (a.x1 < b.x2) & (b.x1 < a.x2) & (a.y1 < b.y2) & (b.y1 < a.y2);
}

}  // namespace retinaface
