#pragma once

#include "math/decode.h"
#include "ops/cuda/anchor_decode/write.cuh"

namespace retinaface {

constexpr int kChunkValues = 16;  // of a candidate's payload, per block

/// Moves the finite candidates of an image together in their order and clears the slots behind them: one block. Each
/// thread moves columns of its own, value by value, so it needs no barrier.
__device__ inline void leave_out_nonfinite_heads(const DecodePlan &plan, int64_t image, int count,
                                                 const AnchorDecodeOutputs &outputs) {
    __shared__ uint32_t finite_rows[(kMaxTopK + kWarpSize - 1) / kWarpSize];
    const int thread = thread_index(), payload_size = plan.payload_size;
    const int64_t first = image * plan.top_k;
    const float *boxes = outputs.boxes + first * 4, *payload = outputs.payload + first * payload_size;
    for (int begin = 0; begin < count; begin += kWriteThreads) {
        const int row = begin + thread;
        bool finite = row < count;
        // Other blocks of this kernel wrote these: bypass the L1 cache.
        for (int i = 0; finite && i < 4; ++i) {
            finite = is_finite(__ldcg(boxes + row * 4 + i));
        }
        for (int i = 0; finite && i < payload_size; ++i) {
            finite = is_finite(__ldcg(payload + static_cast<int64_t>(row) * payload_size + i));
        }
        const uint32_t rows = __ballot_sync(kFullMask, finite);
        if (lane_index() == 0 && row < count) {
            finite_rows[row / kWarpSize] = rows;
        }
    }
    __syncthreads();

    auto move = [&](void *array, int columns, int column) {
        auto *values = static_cast<uint32_t *>(array) + first * columns + column;
        int64_t kept = 0;
        for (int64_t row = 0; row < count; ++row) {
            if (has_bit(finite_rows[row / kWarpSize], static_cast<int>(row % kWarpSize))) {
                values[kept++ * columns] = __ldcg(values + row * columns);
            }
        }
        for (int64_t row = kept; row < count; ++row) {
            values[row * columns] = 0;
        }
        return static_cast<int>(kept);
    };
    for (int column = thread; column < payload_size; column += kWriteThreads) {
        move(outputs.payload, payload_size, column);
    }
    if (thread < 4) {
        move(outputs.boxes, 4, thread);
    } else if (thread == 4) {
        outputs.count[image] = move(outputs.scores, 1, 0);
    } else if (thread == 5 && outputs.classes != nullptr) {
        move(outputs.classes, 1, 0);
    }
}

/// A candidate's place in the heads.
template <typename T>
struct HeadsPlace {
    const LevelPlan *level;
    int64_t plane;  // of the first of a head's values, in units of its values of an anchor
    int cell, anchor_of_cell;
    int32_t class_id;

    __device__ __forceinline__ HeadsPlace(const DecodePlan &plan, int64_t image, int candidate) {
        const int index = candidate / plan.found_classes;
        class_id = candidate % plan.found_classes + 1;
        level = &plan.levels[level_of<&LevelPlan::first_anchor>(plan, index)];
        const int within = index - level->first_anchor;
        cell = within / level->num_anchors;
        anchor_of_cell = within % level->num_anchors;
        plane = image * level->num_anchors + anchor_of_cell;
    }

    /// Value `i` of the `size` that an anchor has in a head.
    __device__ __forceinline__ float value(const void *head, int size, int i) const {
        return to_float(static_cast<const T *>(head)[(plane * size + i) * level->num_cells + cell]);
    }

    __device__ __forceinline__ Anchor moved(const Anchor &anchor, const void *head, const DecodePlan &plan) const {
        float deltas[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            deltas[i] = value(head, 4, i);
        }
        return move_anchor(anchor, deltas, plan.centre_variance, plan.size_variance);
    }

    /// What the deltas of boxes and points refer to.
    __device__ __forceinline__ Anchor anchor(const DecodePlan &plan) const {
        const AnchorSize size = level->anchor_sizes[anchor_of_cell];
        const Anchor anchor =
            anchor_at(cell / level->width, cell % level->width, level->stride, size.width, size.height);
        return plan.cascade ? moved(anchor, level->anchor_deltas, plan) : anchor;
    }
};

/// decode_selected_kernel for heads of any kind: boxes, classes, points and values of the selected candidates.
///
/// Grid (groups of slots, images, chunks of the payload), a thread per slot. Neighbouring threads have neighbouring
/// anchors, so that their values share sectors. Values pass through shared memory, so that neighbouring threads store
/// neighbouring values. Boxes and classes are of the first chunk. progress[image] counts the blocks that are finished
/// (low half) and those with a value that is not finite (high half); see decode_selected_kernel.
template <typename T>
__global__ void __launch_bounds__(kWriteThreads)
    decode_heads_kernel(const __grid_constant__ DecodePlan plan, DecodeWorkspace workspace,
                        AnchorDecodeOutputs outputs) {
    __shared__ float staged[kWriteThreads][kChunkValues + 1];  // an odd length spreads a column over all banks
    __shared__ int staged_slots[kWriteThreads];
    __shared__ unsigned progress;
    wait_for_kernel_before();
    const int64_t image = blockIdx.y;
    const int thread = thread_index();
    const int first_slot = static_cast<int>(blockIdx.x) * kWriteThreads;
    const int slots = min(kWriteThreads, plan.top_k - first_slot);
    const int count = outputs.count[image];
    const int used = max(0, min(slots, count - first_slot));
    const int first_value = static_cast<int>(blockIdx.z) * kChunkValues;
    const int num_values = min(kChunkValues, plan.payload_size - first_value);
    const bool first_chunk = first_value == 0;

    float4 box = {};
    int32_t class_id = 0;
    bool finite = true;
    int slot = first_slot + thread;
    if (thread < used) {
        const SelectedAnchor selected = workspace.selected[image * plan.top_k + slot];
        slot = selected.slot;
        const HeadsPlace<T> place(plan, image, selected.index);
        const Anchor anchor = place.anchor(plan);
        if (first_chunk) {
            const Box decoded = box_of(place.moved(anchor, place.level->box_deltas, plan));
            box = make_float4(decoded.x1, decoded.y1, decoded.x2, decoded.y2);
            finite = is_finite(box.x) && is_finite(box.y) && is_finite(box.z) && is_finite(box.w);
            class_id = place.class_id;
        }
        int head = 0, in_head = first_value;
        for (int i = 0; i < num_values; ++i, ++in_head) {
            while (in_head >= plan.payload_sizes[head]) {
                in_head -= plan.payload_sizes[head++];
            }
            const float value = place.value(place.level->payload[head], plan.payload_sizes[head], in_head);
            staged[thread][i] =
                has_bit(plan.point_heads, head) ? decode_landmark(anchor, in_head, value, plan.centre_variance) : value;
        }
        for (int i = 0; i < num_values; ++i) {
            finite = finite && is_finite(staged[thread][i]);
        }
    } else {
        for (int i = 0; i < num_values; ++i) {
            staged[thread][i] = 0.0f;
        }
    }
    if (first_chunk && thread < slots) {
        reinterpret_cast<float4 *>(outputs.boxes)[image * plan.top_k + slot] = box;
        if (outputs.classes != nullptr) {
            outputs.classes[image * plan.top_k + slot] = class_id;
        }
    }
    staged_slots[thread] = slot;
    __syncthreads();
    float *payload = outputs.payload + image * plan.top_k * plan.payload_size + first_value;
    for (int i = thread; i < slots * kChunkValues; i += kWriteThreads) {
        const int row = i / kChunkValues, column = i % kChunkValues;
        if (column < num_values) {
            payload[static_cast<int64_t>(staged_slots[row]) * plan.payload_size + column] = staged[row][column];
        }
    }
    if (used == 0) {
        return;
    }

    __threadfence();
    const int nonfinite = __syncthreads_or(finite ? 0 : 1);
    if (thread == 0) {
        const unsigned mine = 1u + (nonfinite != 0 ? 1u << 16 : 0u);
        progress = atomicAdd(&workspace.progress[image], mine) + mine;
        __threadfence();
    }
    __syncthreads();
    const unsigned active_blocks = (count + kWriteThreads - 1) / kWriteThreads * gridDim.z;
    if ((progress & 0xffffu) == active_blocks && progress >> 16 != 0) {
        leave_out_nonfinite_heads(plan, image, count, outputs);
    }
}

}  // namespace retinaface
