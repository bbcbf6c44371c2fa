#pragma once

#include "math/box.h"
#include "ops/cuda/batched_nms/plan.cuh"
#include "ops/cuda/common/dependent_launch.cuh"

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
    uint32_t *finite;
    uint32_t *overlaps;
    KeptWord *kept;

    __device__ NmsImage(int64_t image, const BatchedNmsParams &params, const BatchedNmsInputs &inputs,
                        const NmsWorkspace &workspace)
        : index(image) {
        const NmsOrder order = workspace.order[image];
        const int64_t first = image * params.num_candidates;
        count = order.count;
        boxes = order.in_order != 0 ? reinterpret_cast<const float4 *>(inputs.boxes) + first : workspace.boxes + first;
        slots = order.in_order != 0 ? nullptr : workspace.slots + first;
        finite = workspace.finite + image * workspace.num_tiles * kNmsWords;
        overlaps = workspace.overlaps + image * overlap_words_before(workspace.num_tiles);
        kept = workspace.kept + image * workspace.num_tiles * kNmsWords;
    }

    __device__ int num_tiles() const { return (count + kNmsTile - 1) / kNmsTile; }
    __device__ int slot(int place) const { return slots == nullptr ? place : slots[place]; }

    /// [words before the tile's end, kNmsTile]: which candidates of a word a candidate of the tile overlaps, of those
    /// before it. Words behind its own are not written, and of those that an earlier round settled, only the kept
    /// candidates count: bits of others are 0, words without any not written.
    __device__ uint32_t *overlaps_of(int tile) const { return overlaps + overlap_words_before(tile); }
};

}  // namespace retinaface
