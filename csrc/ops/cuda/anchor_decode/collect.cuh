#pragma once

#include "math/decode.h"
#include "math/order.h"
#include "ops/cuda/anchor_decode/plan.cuh"
#include "ops/cuda/common/scalar.cuh"
#include "ops/cuda/common/warp.cuh"

namespace retinaface {

constexpr int kCollectThreads = 128;
constexpr int kCellsPerThread = kTileCells / kCollectThreads;
static_assert(kCellsPerThread == 4, "load_four");

/// Finds the anchors above the threshold and stores their keys, tile by tile.
///
/// Grid (tiles of all levels and anchors, images). A block reads its part of two planes of class logits, once, and
/// nothing else. A thread takes four cells: neighbours if one load can read them, else cells kCollectThreads apart, so
/// that the loads of a warp are coalesced. Few anchors pass, so the sigmoid is computed after the threshold. Ballots
/// give each survivor its place in the tile: no atomics, and coalesced stores even if everything survives. The order
/// within a tile has no meaning: the keys are sorted later.
template <typename T>
__global__ void __launch_bounds__(kCollectThreads)
    collect_candidates_kernel(const __grid_constant__ DecodePlan plan, DecodeWorkspace workspace) {
    constexpr int kWarps = kCollectThreads / kWarpSize;
    __shared__ int warp_counts[kWarps];
    const int tile = blockIdx.x, image = blockIdx.y, thread = thread_index();

    int l = 0;
    while (l + 1 < plan.num_levels && tile >= plan.levels[l + 1].first_tile) {
        ++l;
    }
    const LevelPlan &level = plan.levels[l];
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

    unsigned ballots[kCellsPerThread];
    int survivors = 0;
#pragma unroll
    for (int i = 0; i < kCellsPerThread; ++i) {
        ballots[i] = __ballot_sync(kFullMask, margins[i] > plan.margin_threshold && is_finite(margins[i]));
        survivors += __popc(ballots[i]);
    }
    const int warp = warp_index(), lane = lane_index();
    if (lane == 0) {
        warp_counts[warp] = survivors;
    }
    __syncthreads();

    const int64_t place = static_cast<int64_t>(image) * plan.num_tiles + tile;
    int before = 0, total = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
        before += w < warp ? warp_counts[w] : 0;
        total += warp_counts[w];
    }
    if (thread == 0) {
        workspace.tile_counts[place] = total;
    }
    if (survivors == 0) {
        return;
    }
    int64_t first_of_warp = place * kTileCells + before;
#pragma unroll
    for (int i = 0; i < kCellsPerThread; ++i) {
        if (has_bit(ballots[i], lane)) {
            int index = level.first_anchor + (first + i * step) * level.num_anchors + anchor;
            uint64_t key = order_key(face_score(margins[i]), static_cast<uint32_t>(index));
            int64_t at = first_of_warp + __popc(ballots[i] & ((1u << lane) - 1));
            workspace.scores[at] = static_cast<uint32_t>(key >> 32);
            workspace.indices[at] = static_cast<uint32_t>(key);
        }
        first_of_warp += __popc(ballots[i]);
    }
}

}  // namespace retinaface
