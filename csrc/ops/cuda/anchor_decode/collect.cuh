#pragma once

#include "math/decode.h"
#include "math/order.h"
#include "ops/cuda/anchor_decode/plan.cuh"
#include "ops/cuda/common/block_scan.cuh"
#include "ops/cuda/common/dependent_launch.cuh"
#include "ops/cuda/common/scalar.cuh"
#include "ops/cuda/common/warp.cuh"

namespace retinaface {

constexpr int kCollectThreads = 128;
constexpr int kCellsPerThread = kTileCells / kCollectThreads;
static_assert(kCellsPerThread == 4, "load_four");

/// A tile's survivors on their way to the workspace.
struct CollectStorage {
    uint32_t scores[kTileCells], indices[kTileCells];
    int bins[kScoreBins];  // their counts, then their beginnings
    int warp_sums[kCollectThreads / kWarpSize];
};

__device__ __forceinline__ bool passes(float margin, const DecodePlan &plan) {
    return margin > plan.margin_threshold && is_finite(margin);
}

/// Turns the bins' counts into their beginnings and stores their ends. Returns the number of survivors.
__device__ __forceinline__ int place_bins(CollectStorage &s, uint16_t *bin_ends) {
    constexpr int kBinsPerThread = kScoreBins / kCollectThreads;
    static_assert(kBinsPerThread == 2, "two ends are stored at once");
    const int thread = thread_index();
    const int first = s.bins[2 * thread], second = s.bins[2 * thread + 1];
    int total;
    const int end = block_inclusive_sum<kCollectThreads>(first + second, s.warp_sums, &total);
    s.bins[2 * thread] = end - second - first;
    s.bins[2 * thread + 1] = end - second;
    reinterpret_cast<ushort2 *>(bin_ends)[thread] =
        make_ushort2(static_cast<uint16_t>(end - second), static_cast<uint16_t>(end));
    __syncthreads();
    return total;
}

/// Stores a tile's survivors by bins of scores. `index_of(i)` is the index of the thread's i-th. s.bins must be 0,
/// which a barrier has made known.
template <typename IndexOf>
__device__ __forceinline__ void store_survivors(CollectStorage &s, const DecodePlan &plan,
                                                const DecodeWorkspace &workspace, int64_t place,
                                                const float (&margins)[kCellsPerThread], IndexOf index_of) {
    const int thread = thread_index();
    uint64_t keys[kCellsPerThread];
    int in_bin[kCellsPerThread];
#pragma unroll
    for (int i = 0; i < kCellsPerThread; ++i) {
        keys[i] = 0;
        if (passes(margins[i], plan)) {
            keys[i] = order_key(face_score(margins[i]), static_cast<uint32_t>(index_of(i)));
            in_bin[i] = atomicAdd(&s.bins[score_bin(keys[i], plan)], 1);
        }
    }
    __syncthreads();
    const int total = place_bins(s, workspace.bin_ends + place * kScoreBins);
#pragma unroll
    for (int i = 0; i < kCellsPerThread; ++i) {
        if (keys[i] != 0) {
            int at = s.bins[score_bin(keys[i], plan)] + in_bin[i];
            s.scores[at] = static_cast<uint32_t>(keys[i] >> 32);
            s.indices[at] = static_cast<uint32_t>(keys[i]);
        }
    }
    __syncthreads();
    for (int i = thread; i < total; i += kCollectThreads) {
        workspace.scores[place * kTileCells + i] = s.scores[i];
        workspace.indices[place * kTileCells + i] = s.indices[i];
    }
    if (thread == 0) {
        workspace.tile_counts[place] = total;
    }
}

/// Finds the anchors above the threshold and stores their keys, tile by tile, in a tile by bins of scores.
///
/// Grid (tiles of all levels and anchors, images). A block reads its part of two planes of class logits, once, and
/// nothing else. A thread takes four cells: neighbours if one load can read them, else cells kCollectThreads apart, so
/// that the loads of a warp are coalesced. Few anchors pass, so the sigmoid is computed after the threshold, and most
/// blocks end there. The order within a bin has no meaning: the keys are sorted later.
template <typename T>
__global__ void __launch_bounds__(kCollectThreads)
    collect_candidates_kernel(const __grid_constant__ DecodePlan plan, DecodeWorkspace workspace) {
    __shared__ CollectStorage s;
    let_next_kernel_start();
    const int tile = blockIdx.x, image = blockIdx.y, thread = thread_index();

    const LevelPlan &level = plan.levels[level_of<&LevelPlan::first_tile>(plan, tile)];
    const int anchor = (tile - level.first_tile) / level.tiles_per_anchor;
    const int first_cell = (tile - level.first_tile) % level.tiles_per_anchor * kTileCells;
    const int64_t plane = (static_cast<int64_t>(image) * level.num_anchors + anchor) * 2 * level.num_cells;
    const T *background = static_cast<const T *>(level.logits) + plane;
    const T *face = background + level.num_cells;

    const int first = first_cell + (level.aligned ? thread * kCellsPerThread : thread);
    const int step = level.aligned ? 1 : kCollectThreads;
    float margins[kCellsPerThread];
    if (level.aligned && first < level.num_cells) {
        float background_logits[kCellsPerThread];
        load_four(background + first, background_logits);
        load_four(face + first, margins);
#pragma unroll
        for (int i = 0; i < kCellsPerThread; ++i) {
            margins[i] -= background_logits[i];
        }
    } else {
#pragma unroll
        for (int i = 0; i < kCellsPerThread; ++i) {
            int cell = first + i * step;
            margins[i] = cell < level.num_cells ? to_float(face[cell]) - to_float(background[cell]) : -INFINITY;
        }
    }

    bool any = false;
#pragma unroll
    for (int i = 0; i < kCellsPerThread; ++i) {
        any = any || passes(margins[i], plan);
    }
    for (int bin = thread; bin < kScoreBins; bin += kCollectThreads) {
        s.bins[bin] = 0;
    }
    const int64_t place = static_cast<int64_t>(image) * plan.num_tiles + tile;
    if (__syncthreads_or(any ? 1 : 0) == 0) {
        if (thread == 0) {
            workspace.tile_counts[place] = 0;
        }
        return;
    }

    store_survivors(s, plan, workspace, place, margins,
                    [&](int i) { return level.first_anchor + (first + i * step) * level.num_anchors + anchor; });
}

}  // namespace retinaface
