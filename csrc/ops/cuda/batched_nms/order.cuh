#pragma once

#include "math/decode.h"
#include "math/order.h"
#include "ops/cuda/batched_nms/plan.cuh"
#include "ops/cuda/common/block_sort.cuh"
#include "ops/cuda/common/dependent_launch.cuh"

namespace retinaface {

constexpr int kOrderThreads = 1024;
using NmsSort = BlockSort<kOrderThreads, 5>;
static_assert(NmsSort::kCapacity >= kMaxNmsCandidates, "an image's candidates must fit");

/// Whether all scores are finite and none is below the next one. Called by all threads of the block.
__device__ __forceinline__ bool scores_in_order(const float *scores, int count) {
    bool in_order = true;
    const int lane = lane_index();
    for (int first = thread_index() - lane; first < count; first += kOrderThreads) {
        int i = first + lane;
        float score = i < count ? scores[i] : 0.0f;
        float next = __shfl_down_sync(kFullMask, score, 1);
        if (lane == kWarpSize - 1 && i + 1 < count) {
            next = scores[i + 1];
        }
        in_order = in_order && is_finite(score) && (i + 1 >= count || score >= next);
    }
    return __syncthreads_and(in_order ? 1 : 0) != 0;
}

/// Puts each image's candidates in order, one block per image.
/// Candidates from the decoder are in order already, which the scores alone show.
static __global__ void __launch_bounds__(kOrderThreads)
    order_candidates_kernel(BatchedNmsParams params, BatchedNmsInputs inputs, NmsWorkspace workspace) {
    __shared__ NmsSort::Storage storage;
    __shared__ int num_keys;
    let_next_kernel_start();
    const int64_t image = blockIdx.x;
    const int thread = thread_index(), lane = lane_index();
    const int count = max(0, min(inputs.count[image], params.num_candidates));
    const float *scores = inputs.scores + image * params.num_candidates;

    if (thread == 0) {
        num_keys = 0;
    }
    if (scores_in_order(scores, count)) {
        if (thread == 0) {
            workspace.order[image] = {count, 1};
        }
        return;
    }

    for (int first = thread - lane; first < count; first += kOrderThreads) {
        int slot = first + lane;
        float score = slot < count ? scores[slot] : 0.0f;
        bool taken = slot < count && is_finite(score);
        unsigned lanes = __ballot_sync(kFullMask, taken);
        int place = 0;
        if (lane == 0) {
            place = atomicAdd(&num_keys, __popc(lanes));
        }
        place = __shfl_sync(kFullMask, place, 0) + __popc(lanes & ((1u << lane) - 1));
        if (taken) {
            storage.keys[place] = order_key(score, static_cast<uint32_t>(slot));
        }
    }
    __syncthreads();
    const int sorted = num_keys;
    NmsSort::sort(storage, sorted);

    const auto *boxes = reinterpret_cast<const float4 *>(inputs.boxes) + image * params.num_candidates;
    for (int i = thread; i < sorted; i += kOrderThreads) {
        int slot = static_cast<int>(index_of_key(storage.keys[i]));
        workspace.slots[image * params.num_candidates + i] = slot;
        workspace.boxes[image * params.num_candidates + i] = boxes[slot];
    }
    if (thread == 0) {
        workspace.order[image] = {sorted, 0};
    }
}

}  // namespace retinaface
