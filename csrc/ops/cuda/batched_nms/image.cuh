#pragma once

#include "math/box.h"
#include "ops/cuda/batched_nms/plan.cuh"

namespace retinaface {

__device__ __forceinline__ Box to_box(const float4 &box) {
    return {box.x, box.y, box.z, box.w};
}

/// A block's image, with its candidates in order.
struct NmsImage {
    int64_t index;
    int count;
    const float4 *boxes;
    const int32_t *slots;  // null: places are slots
    uint64_t *verdicts;    // kNmsWords per tile

    __device__ NmsImage(int64_t image, const BatchedNmsParams &params, const BatchedNmsInputs &inputs,
                        const NmsWorkspace &workspace)
        : index(image) {
        const NmsOrder order = workspace.order[image];
        const int64_t first = image * params.num_candidates;
        count = order.count;
        boxes = order.in_order != 0 ? reinterpret_cast<const float4 *>(inputs.boxes) + first : workspace.boxes + first;
        slots = order.in_order != 0 ? nullptr : workspace.slots + first;
        verdicts = workspace.verdicts + image * workspace.num_tiles * kNmsWords;
    }
};

/// Clears the slots of the result that have the same numbers as the tile's candidates. Detections of a tile go to these
/// slots or to earlier ones, and a block finds its detections only after it has read the verdicts of all earlier tiles.
/// So no slot is cleared after it was written, and no block waits for the clearing.
__device__ __forceinline__ void clear_slots(const BatchedNmsParams &params, const BatchedNmsOutputs &outputs,
                                            int64_t image, int tile) {
    const int thread = thread_index();
    const int first = tile * kNmsTile;
    const int slots = min(kNmsTile, params.max_detections - first);
    const int64_t at = image * params.max_detections + first;
    if (thread < slots) {
        reinterpret_cast<float4 *>(outputs.boxes)[at + thread] = float4{};
        outputs.scores[at + thread] = 0.0f;
        if (outputs.indices != nullptr) {
            outputs.indices[at + thread] = -1;
        }
    }
    if (params.has_landmarks) {
        // As points: 40 bytes per slot are aligned for float2, not for float4.
        auto *points = reinterpret_cast<float2 *>(outputs.landmarks) + at * kLandmarkPoints;
        for (int i = thread; i < slots * kLandmarkPoints; i += static_cast<int>(blockDim.x)) {
            points[i] = float2{};
        }
    }
}

}  // namespace retinaface
