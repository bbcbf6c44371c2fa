#pragma once

#include "math/decode.h"
#include "ops/cuda/batched_nms/image.cuh"

namespace retinaface {

template <bool kPerClass>
struct TileBoxes {
    float4 box[kNmsTile];
    float area[kNmsTile];
};
template <>
struct TileBoxes<true> {
    float4 box[kNmsTile];
    float area[kNmsTile];
    int32_t class_id[kNmsTile];
};

/// Returns which of the `wanted` candidates of a word the box overlaps. The threads of a warp have the same word, so
/// they read each of its boxes by one broadcast. Few pairs meet: they are first marked, and each lane then goes through
/// its own. `class_id` is the box's, and counts only with kPerClass.
template <bool kPerClass>
__device__ __forceinline__ uint32_t overlap_word(const TileBoxes<kPerClass> &tile, int word, uint32_t wanted,
                                                 const Box &box, float box_area, int32_t class_id,
                                                 float iou_threshold) {
    uint32_t meeting = 0;
    if (wanted == kFullMask) {
#pragma unroll
        for (int bit = 0; bit < kWarpSize; ++bit) {
            meeting |= may_meet(to_box(tile.box[word * kWarpSize + bit]), box) ? 1u << bit : 0;
        }
    } else {
        for (; wanted != 0; wanted &= wanted - 1) {
            const int bit = __ffs(wanted) - 1;
            meeting |= may_meet(to_box(tile.box[word * kWarpSize + bit]), box) ? 1u << bit : 0;
        }
    }
    uint32_t overlapped = 0;
    for (; meeting != 0; meeting &= meeting - 1) {
        const int bit = __ffs(meeting) - 1;
        const int at = word * kWarpSize + bit;
        if constexpr (kPerClass) {
            if (tile.class_id[at] != class_id) {
                continue;
            }
        }
        if (iou(to_box(tile.box[at]), tile.area[at], box, box_area) > iou_threshold) {
            overlapped |= 1u << bit;
        }
    }
    return overlapped;
}

/// Clears the slots of the result that have the same numbers as the tile's candidates.
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
    if (carries_landmarks(params)) {
        // As points: 40 bytes per slot are aligned for float2, not for float4.
        auto *points = reinterpret_cast<float2 *>(outputs.payload) + at * kLandmarkPoints;
        for (int i = thread; i < slots * kLandmarkPoints; i += kNmsTile) {
            points[i] = float2{};
        }
    }
}

/// Tests the candidates of a round's tiles against all before them; the first round also clears the result.
///
/// Grid (tiles to the round's end, tiles of the round, images), a thread per candidate: block (x, y) tests the
/// candidates of tile y of the round against those of tile x, which come before them. More is tested than greedy
/// suppression needs, but all at once, on all multiprocessors. Afterwards only bits need to be combined. With kPerClass
/// candidates of different classes do not overlap.
template <bool kPerClass>
__global__ void __launch_bounds__(kNmsTile)
    find_overlaps_kernel(BatchedNmsParams params, BatchedNmsInputs inputs, BatchedNmsOutputs outputs,
                         NmsWorkspace workspace, NmsRound round) {
    __shared__ TileBoxes<kPerClass> earlier;
    let_next_kernel_start();
    const int earlier_tile = blockIdx.x, tile = round.first + blockIdx.y, thread = thread_index();
    if (earlier_tile > tile) {
        return;
    }
    wait_for_kernel_before();
    if (round.first == 0 && earlier_tile == tile) {
        for (int cleared = tile; cleared * kNmsTile < params.max_detections; cleared += round.end) {
            clear_slots(params, outputs, blockIdx.z, cleared);
        }
    }
    const NmsImage image(blockIdx.z, params, inputs, workspace);
    // Votes are for what is kept, also if the result is full.
    if (tile >= image.num_tiles() ||
        (round.first > 0 && workspace.done[image.index] != 0 && (!params.voting || earlier_tile >= round.first))) {
        return;
    }

    // A box that is not finite, or behind the last, overlaps none.
    auto finite_box = [&](int place, bool &finite) {
        const float4 box = place < image.count ? image.boxes[place] : float4{};
        finite = place < image.count && is_finite(box.x) && is_finite(box.y) && is_finite(box.z) && is_finite(box.w);
        return finite ? box : float4{};
    };
    bool finite;
    earlier.box[thread] = finite_box(earlier_tile * kNmsTile + thread, finite);
    earlier.area[thread] = area(to_box(earlier.box[thread]));
    const Box box = to_box(finite_box(tile * kNmsTile + thread, finite));
    const float box_area = area(box);
    int32_t class_id = 0;
    if constexpr (kPerClass) {
        const int32_t *classes = inputs.classes + image.index * params.num_candidates;
        auto class_of = [&](int place) { return place < image.count ? classes[image.slot(place)] : 0; };
        earlier.class_id[thread] = class_of(earlier_tile * kNmsTile + thread);
        class_id = class_of(tile * kNmsTile + thread);
    }
    __syncthreads();

    uint32_t *overlaps = image.overlaps_of(tile) + earlier_tile * kNmsWords * kNmsTile;
    const int own_word = warp_index(), lane = lane_index();
    const int words = earlier_tile == tile ? own_word + 1 : kNmsWords;
    for (int word = 0; word < words; ++word) {
        const uint32_t wanted =
            earlier_tile < round.first ? image.kept[earlier_tile * kNmsWords + word].bits : kFullMask;
        if (wanted == 0) {
            continue;
        }
        uint32_t overlapped = overlap_word(earlier, word, wanted, box, box_area, class_id, params.iou_threshold);
        if (earlier_tile == tile && word == own_word) {
            overlapped &= (1u << lane) - 1;  // only those before this one
        }
        overlaps[word * kNmsTile + thread] = overlapped;
    }
    if (earlier_tile == tile) {
        const uint32_t all_finite = __ballot_sync(kFullMask, finite);
        if (lane == 0) {
            image.finite[tile * kNmsWords + own_word] = all_finite;
        }
    }
}

}  // namespace retinaface
