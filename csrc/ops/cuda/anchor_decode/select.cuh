#pragma once

#include "math/order.h"
#include "ops/cuda/anchor_decode/plan.cuh"
#include "ops/cuda/anchor_decode/slice.cuh"
#include "ops/cuda/common/dependent_launch.cuh"

namespace retinaface {

constexpr int kPlaceBins = kSelectThreads;

/// Copies the slice's keys to s.sort, in any order. s.gathered must be 0.
__device__ __forceinline__ void gather_keys(SelectStorage &s, const ImageKeys &keys, const Slice &slice) {
    const int lane = lane_index();
    for_each_key(keys, slice.first_bin, slice.last_bin, [&](uint64_t key) {
        const uint32_t lanes = __ballot_sync(kFullMask, key != 0 && key >= slice.lowest);
        int first = 0;
        if (lane == 0) {
            first = atomicAdd(&s.gathered, __popc(lanes));
        }
        first = __shfl_sync(kFullMask, first, 0);
        if (has_bit(lanes, lane)) {
            s.sort.keys[first + __popc(lanes & ((1u << lane) - 1))] = key;
        }
    });
    __syncthreads();
}

/// Lists the selected anchors with neighbours in the map together (a counting sort by the upper bits of the index), so
/// that their deltas share sectors; anchors in the order of scores are scattered over the map. The order within a bin
/// is that of the atomics: it decides which thread decodes an anchor, not the result. `first` is the first one's rank.
__device__ __forceinline__ void list_selected(SelectStorage &s, const DecodePlan &plan, int first, int selected,
                                              SelectedAnchor *list) {
    const int thread = thread_index();
    uint32_t *places = s.sort.counters;
    places[thread] = 0;
    __syncthreads();
    for (int i = thread; i < selected; i += kSelectThreads) {
        atomicAdd(&places[index_of_key(s.sort.keys[i]) >> plan.place_shift], 1u);
    }
    __syncthreads();
    int in_bin = static_cast<int>(places[thread]);
    int total;
    int before = block_inclusive_sum<kSelectThreads>(in_bin, s.warp_sums, &total) - in_bin;
    places[thread] = static_cast<uint32_t>(before);
    __syncthreads();
    for (int i = thread; i < selected; i += kSelectThreads) {
        uint32_t index = index_of_key(s.sort.keys[i]);
        list[atomicAdd(&places[index >> plan.place_shift], 1u)] = {static_cast<int32_t>(index), first + i};
    }
}

/// Chooses and orders the K best candidates of an image. Grid (slices of kSliceRanks ranks, images).
///
/// Candidates are compared by (score, anchor index) as one 64-bit key. This order is total, so the result does not
/// depend on the order of the atomics, nor on the slices. The blocks of an image do not communicate: each adds up the
/// bins of all tiles, which tells it the bins of its ranks, then gathers and sorts their keys. An image with few
/// candidates, as most have, is sorted by its first block at once.
///
/// __launch_bounds__ asks for one block per multiprocessor: with two, the compiler spills. A second block would help
/// only batches with more images than multiprocessors.
static __global__ void __launch_bounds__(kSelectThreads, 1)
    select_candidates_kernel(const __grid_constant__ DecodePlan plan, DecodeWorkspace workspace, float *scores,
                             int32_t *count) {
    __shared__ SelectStorage s;
    let_next_kernel_start();
    wait_for_kernel_before();
    const int64_t image = blockIdx.y;
    const int thread = thread_index();
    const ImageKeys keys(image, plan, workspace);

    int mine = 0;
#pragma unroll 1  // mostly one round
    for (int tile = thread; tile < plan.num_tiles; tile += kSelectThreads) {
        mine += keys.tile_counts[tile];
    }
    if (thread == 0) {
        s.gathered = 0;
    }
    int total;
    block_inclusive_sum<kSelectThreads>(mine, s.warp_sums, &total);

    const int selected = min(total, plan.top_k);
    const int first = static_cast<int>(blockIdx.x) * kSliceRanks;
    const int end = min(first + kSliceRanks, plan.top_k);
    scores += image * plan.top_k;
#pragma unroll 1
    for (int i = max(first, selected) + thread; i < end; i += kSelectThreads) {
        scores[i] = 0.0f;
    }
    if (first == 0 && thread == 0) {
        count[image] = selected;
        workspace.progress[image] = 0;
    }
    if (first >= selected) {
        return;
    }

    Slice slice = {0, kScoreBins - 1, 0, 0, total};
    if (total > kSliceRanks) {
        slice = choose_slice(s, plan, keys, first, min(end, selected));
    }
    gather_keys(s, keys, slice);
    SelectSort::sort(s.sort, slice.count);
    const int chosen = min(slice.count, plan.top_k - slice.first);
    for (int i = thread; i < chosen; i += kSelectThreads) {
        scores[slice.first + i] = score_of_key(s.sort.keys[i]);
    }
    list_selected(s, plan, slice.first, chosen, workspace.selected + image * plan.top_k + slice.first);
}

}  // namespace retinaface
