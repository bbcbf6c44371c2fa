#pragma once

#include "ops/cuda/anchor_decode/plan.cuh"
#include "ops/cuda/common/warp.cuh"

namespace retinaface {

constexpr int kSelectThreads = 1024;
constexpr int kSelectWarps = kSelectThreads / kWarpSize;

/// An image's part of the workspace. `tile_counts` lies in shared memory.
struct ImageKeys {
    const uint32_t *scores, *indices;
    const TileCount *tile_counts;
};

/// A lane's candidates of one step of for_each_score: as many loads are in flight.
constexpr int kScoresPerLane = 4;
struct LaneScores {
    uint32_t scores[kScoresPerLane];  // 0 where there is no candidate
    const uint32_t *indices;          // of the first; those of the others are kWarpSize apart

    __device__ __forceinline__ uint64_t key(int i, bool needs_index) const {
        const uint32_t index = needs_index ? indices[i * kWarpSize] : 0;
        return static_cast<uint64_t>(scores[i]) << 32 | index;
    }
};

/// Calls visit(LaneScores) until all candidates of an image were visited, in whole warps.
template <typename Visit>
__device__ __forceinline__ void for_each_score(const ImageKeys &keys, int num_tiles, Visit visit) {
    constexpr int kStep = kWarpSize * kScoresPerLane;
    constexpr int kStepsPerTile = kTileCells / kStep;
    for (int step = warp_index(); step < num_tiles * kStepsPerTile; step += kSelectWarps) {
        const int tile = step / kStepsPerTile;
        const int place = step % kStepsPerTile * kStep + lane_index();
        const int count = keys.tile_counts[tile];
        if (step % kStepsPerTile * kStep >= count) {
            continue;
        }
        const int64_t at = static_cast<int64_t>(tile) * kTileCells + place;
        LaneScores found;
        found.indices = keys.indices + at;
#pragma unroll
        for (int i = 0; i < kScoresPerLane; ++i) {
            found.scores[i] = place + i * kWarpSize < count ? keys.scores[at + i * kWarpSize] : 0;
        }
        visit(found);
    }
}

}  // namespace retinaface
