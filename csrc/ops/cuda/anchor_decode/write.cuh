#pragma once

#include "math/decode.h"
#include "ops/cuda/anchor_decode/plan.cuh"
#include "ops/cuda/common/block_scan.cuh"
#include "ops/cuda/common/dependent_launch.cuh"
#include "ops/cuda/common/scalar.cuh"
#include "ops/cuda/common/warp.cuh"

namespace retinaface {

constexpr int kWriteThreads = 64;  // and slots per block: small, so that few candidates still spread

/// Moves the finite candidates of an image together in their order and clears the slots behind them: one block, chunk
/// by chunk. A chunk moves only to slots that were read before.
__device__ inline void leave_out_nonfinite(const DecodePlan &plan, int count, float *boxes, float *scores,
                                           float *landmarks, int32_t *count_out) {
    __shared__ int warp_sums[kWriteThreads / kWarpSize];
    const int thread = thread_index();
    auto *box_slots = reinterpret_cast<float4 *>(boxes);
    int kept = 0;
    for (int begin = 0; begin < count; begin += kWriteThreads) {
        int from = begin + thread;
        bool finite = from < count;
        float4 box = {};
        float points[kLandmarkValues] = {};
        float score = 0.0f;
        if (finite) {
            // Other blocks of this kernel wrote these: bypass the L1 cache.
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

/// Decodes the anchor `index`. Returns false if a value is not finite.
template <typename T>
__device__ __forceinline__ bool decode_candidate(const DecodePlan &plan, int64_t image, int index, float4 &box_out,
                                                 float *points) {
    const LevelPlan &level = plan.levels[level_of<&LevelPlan::first_anchor>(plan, index)];
    const int within = index - level.first_anchor;
    const int cell = within / level.num_anchors, a = within % level.num_anchors;
    const int64_t step = level.num_cells;
    const int64_t first_plane = image * level.num_anchors + a;
    const T *d = static_cast<const T *>(level.box_deltas) + first_plane * 4 * step + cell;
    const T *p = static_cast<const T *>(level.payload[0]) + first_plane * kLandmarkValues * step + cell;
    const T *f = static_cast<const T *>(level.anchor_deltas) + first_plane * 4 * step + cell;

    // All loads before the first use, so that their latencies overlap: they go to 14 or 18 different planes.
    float deltas[4];
    float anchor_deltas[4] = {};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        deltas[i] = to_float(d[i * step]);
        if (plan.cascade) {
            anchor_deltas[i] = to_float(f[i * step]);
        }
    }
    float landmark_deltas[kLandmarkValues] = {};
    if (plan.has_landmarks) {
#pragma unroll
        for (int i = 0; i < kLandmarkValues; ++i) {
            landmark_deltas[i] = to_float(p[i * step]);
        }
    }

    const AnchorSize size = level.anchor_sizes[a];
    Anchor anchor = anchor_at(cell / level.width, cell % level.width, level.stride, size.width, size.height);
    if (plan.cascade) {
        anchor = move_anchor(anchor, anchor_deltas, plan.centre_variance, plan.size_variance);
    }
    const Box box = box_of(move_anchor(anchor, deltas, plan.centre_variance, plan.size_variance));
    box_out = make_float4(box.x1, box.y1, box.x2, box.y2);
    bool finite = is_finite(box.x1) && is_finite(box.y1) && is_finite(box.x2) && is_finite(box.y2);
#pragma unroll
    for (int i = 0; i < kLandmarkValues; ++i) {
        points[i] = decode_landmark(anchor, i, landmark_deltas[i], plan.centre_variance);
        finite = finite && is_finite(points[i]);
    }
    return finite;
}

/// Decodes boxes and landmarks of the selected anchors and clears the slots without one.
///
/// Grid (groups of slots, images), a thread per slot. A thread computes its anchor from the index and reads only the
/// anchor's 14 deltas (18 in a cascade); neighbouring threads have neighbouring anchors. It stores to the slot of the
/// anchor's score. Landmarks, 40 bytes per thread, pass through shared memory (2.5 KB), so that neighbouring threads
/// store neighbouring points.
///
/// A candidate whose values overflow is left out. This is rare and moves all candidates after it, so the fast path does
/// not handle it: blocks count in progress[image] the finished blocks (low half) and such candidates (high half). If
/// there are any, the last block to finish closes the gaps.
template <typename T>
__global__ void __launch_bounds__(kWriteThreads)
    decode_selected_kernel(const __grid_constant__ DecodePlan plan, DecodeWorkspace workspace,
                           AnchorDecodeOutputs outputs) {
    __shared__ float2 staged[kWriteThreads * kLandmarkPoints];  // 40 bytes per slot are not aligned for float4
    __shared__ int staged_slots[kWriteThreads];
    __shared__ unsigned progress;
    wait_for_kernel_before();
    const int64_t image = blockIdx.y;
    const int thread = thread_index();
    const int first_slot = static_cast<int>(blockIdx.x) * kWriteThreads;
    const int slots = min(kWriteThreads, plan.top_k - first_slot);
    const int count = outputs.count[image];
    const int used = max(0, min(slots, count - first_slot));
    float *boxes = outputs.boxes + image * plan.top_k * 4;
    float *scores = outputs.scores + image * plan.top_k;
    float *landmarks = plan.has_landmarks ? outputs.payload + image * plan.top_k * kLandmarkValues : nullptr;

    float4 box = {};
    float points[kLandmarkValues] = {};
    bool finite = true;
    int slot = first_slot + thread;
    if (thread < used) {
        SelectedAnchor anchor = workspace.selected[image * plan.top_k + slot];
        slot = anchor.slot;
        finite = decode_candidate<T>(plan, image, anchor.index, box, points);
    }
    if (thread < slots) {
        reinterpret_cast<float4 *>(boxes)[slot] = box;
    }
    if (plan.has_landmarks) {
#pragma unroll
        for (int i = 0; i < kLandmarkPoints; ++i) {
            staged[thread * kLandmarkPoints + i] = make_float2(points[2 * i], points[2 * i + 1]);
        }
        staged_slots[thread] = slot;
        __syncthreads();
        auto *targets = reinterpret_cast<float2 *>(landmarks);
        for (int i = thread; i < slots * kLandmarkPoints; i += kWriteThreads) {
            targets[staged_slots[i / kLandmarkPoints] * kLandmarkPoints + i % kLandmarkPoints] = staged[i];
        }
    }
    if (used == 0) {
        return;
    }

    __threadfence();
    const int nonfinite = __syncthreads_count(!finite);
    if (thread == 0) {
        unsigned mine = 1u + (static_cast<unsigned>(nonfinite) << 16);
        progress = atomicAdd(&workspace.progress[image], mine) + mine;
        __threadfence();
    }
    __syncthreads();
    const unsigned active_blocks = (count + kWriteThreads - 1) / kWriteThreads;
    if ((progress & 0xffffu) == active_blocks && progress >> 16 != 0) {
        leave_out_nonfinite(plan, count, boxes, scores, landmarks, outputs.count + image);
    }
}

}  // namespace retinaface
