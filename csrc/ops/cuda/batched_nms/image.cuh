#pragma once

#include "math/box.h"
#include "ops/cuda/batched_nms/plan.cuh"

namespace retinaface {

constexpr int kLandmarkPairs = 5;  // float2 keeps every slot aligned, float4 would not

__device__ __forceinline__ Box to_box(const float4 &box) {
    return {box.x, box.y, box.z, box.w};
}

/// The image that a block works on, with its candidates in order.
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

/// Clears the result's slots of the same numbers as the tile's candidates. The detections of a tile go to
/// slots of its own or earlier numbers, and a block has read the verdicts of all earlier tiles before it
/// has any detection: so no slot is cleared after it was written, and nobody waits to clear the rest.
__device__ __forceinline__ void clear_slots(const BatchedNmsParams &params, const BatchedNmsOutputs &outputs,
                                            int64_t image, int tile) {
    const int thread = static_cast<int>(threadIdx.x);
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
        auto *pairs = reinterpret_cast<float2 *>(outputs.landmarks) + at * kLandmarkPairs;
        for (int i = thread; i < slots * kLandmarkPairs; i += static_cast<int>(blockDim.x)) {
            pairs[i] = float2{};
        }
    }
}

}  // namespace retinaface
