#pragma once

#include "math/decode.h"
#include "ops/cuda/anchor_decode_plan.cuh"
#include "ops/cuda/block_scan.cuh"
#include "ops/cuda/scalar.cuh"

namespace retinaface {

constexpr int kWriteThreads = 256;
constexpr int kLanesPerCandidate = 16;  // 4 for the box, 10 for the landmarks, 2 idle
constexpr int kSlotsPerBlock = 32;

/// Moves the finite candidates of an image together, keeping their order, and clears what they leave:
/// one block, chunk by chunk. A chunk only ever moves to slots that have been read already.
__device__ inline void leave_out_nonfinite(const DecodePlan &plan, int count, float *boxes, float *scores,
                                           float *landmarks, int32_t *count_out) {
    __shared__ int warp_sums[kWriteThreads / 32];
    const int thread = static_cast<int>(threadIdx.x);
    auto *box_slots = reinterpret_cast<float4 *>(boxes);
    int kept = 0;
    for (int begin = 0; begin < count; begin += kWriteThreads) {
        int from = begin + thread;
        bool finite = from < count;
        float4 box = {};
        float points[kLandmarkValues] = {};
        float score = 0.0f;
        if (finite) {
            // Written by other blocks of this kernel: read past the L1 cache.
            box = __ldcg(box_slots + from);
            score = __ldcg(scores + from);
            finite = is_finite(box.x) && is_finite(box.y) && is_finite(box.z) && is_finite(box.w);
            for (int i = 0; i < kLandmarkValues && plan.has_landmarks; ++i) {
                points[i] = __ldcg(landmarks + from * kLandmarkValues + i);
                finite = finite && is_finite(points[i]);
            }
        }
        int in_chunk;
        int to = kept + block_inclusive_sum<kWriteThreads>(finite ? 1 : 0, warp_sums, &in_chunk) - 1;
        if (finite) {
            box_slots[to] = box;
            scores[to] = score;
            for (int i = 0; i < kLandmarkValues && plan.has_landmarks; ++i) {
                landmarks[to * kLandmarkValues + i] = points[i];
            }
        }
        kept += in_chunk;
    }
    __syncthreads();
    for (int slot = kept + thread; slot < count; slot += kWriteThreads) {
        box_slots[slot] = float4{};
        scores[slot] = 0.0f;
        for (int i = 0; i < kLandmarkValues && plan.has_landmarks; ++i) {
            landmarks[slot * kLandmarkValues + i] = 0.0f;
        }
    }
    if (thread == 0) {
        *count_out = kept;
    }
}

/// The value of one lane of a candidate: box corner 0..3 or landmark coordinate 4..13.
template <typename T>
__device__ __forceinline__ float decode_value(const DecodePlan &plan, int64_t image, int index, int lane) {
    int l = 0;
    while (l + 1 < plan.num_levels && index >= plan.levels[l + 1].first_anchor) {
        ++l;
    }
    const LevelPlan &level = plan.levels[l];
    const int within = index - level.first_anchor;
    const int cell = within / level.num_anchors, a = within % level.num_anchors;
    const Anchor anchor = anchor_at(cell / level.width, cell % level.width, level.stride, level.anchor_sizes[a]);

    const bool in_box = lane < 4;
    const int channels = in_box ? 4 : kLandmarkValues;
    const int channel = in_box ? lane : lane - 4;
    const T *head = static_cast<const T *>(in_box ? level.box_deltas : level.landmark_deltas);
    float delta = 0.0f;
    if (in_box || (plan.has_landmarks && channel < kLandmarkValues)) {
        delta = to_float(head[((image * level.num_anchors + a) * channels + channel) * level.num_cells + cell]);
    }
    float deltas[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        deltas[i] = __shfl_sync(~0u, delta, i, kLanesPerCandidate);
    }
    if (!in_box) {
        float centre = channel % 2 == 0 ? anchor.cx : anchor.cy;
        return decode_landmark(centre, delta, plan.centre_variance, anchor.size);
    }
    Box box = decode_box(anchor, deltas[0], deltas[1], deltas[2], deltas[3], plan.centre_variance, plan.size_variance);
    return lane == 0 ? box.x1 : lane == 1 ? box.y1 : lane == 2 ? box.x2 : box.y2;
}

/// Decodes the selected candidates: boxes and landmarks; clears the slots without one.
///
/// Grid (groups of slots, images). Half a warp serves a candidate, one lane a value: its deltas lie in 14
/// different planes, so there is nothing to coalesce, but so all of them are in flight at once, and the
/// stores of neighbouring candidates are dense. Anchors follow from the index.
///
/// A candidate whose values overflow is left out. That is rare and moves all behind it, so it is not
/// prepared for: blocks add up, in progress[image], how many have finished (low half) and how many such
/// candidates they met (high half), and where there are any the last block to finish closes the gaps.
template <typename T>
__global__ void __launch_bounds__(kWriteThreads)
    decode_selected_kernel(const __grid_constant__ DecodePlan plan, DecodeWorkspace workspace,
                           AnchorDecodeOutputs outputs) {
    __shared__ int nonfinite;
    __shared__ bool must_compact;
    const int64_t image = blockIdx.y;
    const int thread = static_cast<int>(threadIdx.x);
    const int first_slot = static_cast<int>(blockIdx.x) * kSlotsPerBlock;
    const int end_slot = min(first_slot + kSlotsPerBlock, plan.top_k);
    const int count = outputs.count[image];
    float *boxes = outputs.boxes + image * plan.top_k * 4;
    float *scores = outputs.scores + image * plan.top_k;
    float *landmarks = plan.has_landmarks ? outputs.landmarks + image * plan.top_k * kLandmarkValues : nullptr;

    int first_free = max(first_slot, min(count, end_slot));
    for (int i = first_free * 4 + thread; i < end_slot * 4; i += kWriteThreads) {
        boxes[i] = 0.0f;
    }
    for (int i = first_free * kLandmarkValues + thread; i < end_slot * kLandmarkValues && plan.has_landmarks;
         i += kWriteThreads) {
        landmarks[i] = 0.0f;
    }
    if (first_slot >= count) {
        return;
    }
    if (thread == 0) {
        nonfinite = 0;
    }
    __syncthreads();

    const int lane = thread % kLanesPerCandidate;
    const bool used = lane < 4 || (plan.has_landmarks && lane < 4 + kLandmarkValues);
#pragma unroll 2
    for (int first = first_slot; first < end_slot; first += kWriteThreads / kLanesPerCandidate) {
        int slot = first + thread / kLanesPerCandidate;
        bool valid = slot < min(count, end_slot);
        int index = valid ? workspace.selected[image * plan.top_k + slot] : 0;
        float value = decode_value<T>(plan, image, index, lane);
        if (valid && used) {
            if (lane < 4) {
                boxes[slot * 4 + lane] = value;
            } else {
                landmarks[slot * kLandmarkValues + lane - 4] = value;
            }
        }
        unsigned bad = __ballot_sync(~0u, valid && used && !is_finite(value));
        if (bad != 0 && thread % 32 == 0) {
            atomicAdd(&nonfinite, ((bad & 0xffffu) != 0 ? 1 : 0) + (bad >> 16 != 0 ? 1 : 0));
        }
    }

    __threadfence();
    __syncthreads();
    if (thread == 0) {
        const unsigned active_blocks = (count + kSlotsPerBlock - 1) / kSlotsPerBlock;
        unsigned mine = 1u + (static_cast<unsigned>(nonfinite) << 16);
        unsigned all = atomicAdd(&workspace.progress[image], mine) + mine;
        must_compact = (all & 0xffffu) == active_blocks && all >> 16 != 0;
        __threadfence();
    }
    __syncthreads();
    if (must_compact) {
        leave_out_nonfinite(plan, count, boxes, scores, landmarks, outputs.count + image);
    }
}

}  // namespace retinaface
