#pragma once

#include "ops/cuda/anchor_decode/plan.cuh"
#include "ops/cuda/common/warp.cuh"

namespace retinaface {

constexpr int kSelectThreads = 1024;
constexpr int kSelectWarps = kSelectThreads / kWarpSize;

/// Orders candidates as their keys do, in fewer bits: without the bits above the range of scores and above the range of
/// indices, which are the same in all keys.
__device__ __forceinline__ uint64_t rank_of(uint64_t key, const DecodePlan &plan) {
    uint64_t score = static_cast<uint32_t>(key >> 32) - plan.lowest_score;
    return score << kIndexBits | (key & ((1u << kIndexBits) - 1));
}
__device__ __forceinline__ uint64_t key_of_rank(uint64_t rank, const DecodePlan &plan) {
    uint64_t score = (rank >> kIndexBits) + plan.lowest_score;
    return score << 32 | static_cast<uint32_t>(~0u << kIndexBits | static_cast<uint32_t>(rank));
}

/// An image's part of the workspace.
struct ImageKeys {
    const uint32_t *scores, *indices;
    const int32_t *tile_counts;
    const uint16_t *bin_ends;
    int num_tiles;

    __device__ ImageKeys(int64_t image, const DecodePlan &plan, const DecodeWorkspace &workspace)
        : num_tiles(plan.num_tiles) {
        const int64_t first_tile = image * plan.num_tiles;
        scores = workspace.scores + first_tile * kTileCells;
        indices = workspace.indices + first_tile * kTileCells;
        tile_counts = workspace.tile_counts + first_tile;
        bin_ends = workspace.bin_ends + first_tile * kScoreBins;
    }

    /// Where a bin ends in a tile that has candidates.
    __device__ __forceinline__ int end(int tile, int bin) const {
        return bin < 0 ? 0 : bin_ends[static_cast<int64_t>(tile) * kScoreBins + bin];
    }
};

/// Calls visit(key) for an image's candidates in the bins from `first_bin` to `last_bin`, in whole warps; a lane
/// without a candidate gets 0. A warp takes every kSelectWarps-th tile. Its lanes look up 32 tiles at once.
template <typename Visit>
__device__ __forceinline__ void for_each_key(const ImageKeys &keys, int first_bin, int last_bin, Visit visit) {
    const int lane = lane_index();
    for (int first_tile = warp_index(); first_tile < keys.num_tiles; first_tile += kSelectThreads) {
        const int lane_tile = first_tile + lane * kSelectWarps;
        int lane_begin = 0, lane_end = 0;
        if (lane_tile < keys.num_tiles && keys.tile_counts[lane_tile] != 0) {
            lane_begin = keys.end(lane_tile, first_bin - 1);
            lane_end = keys.end(lane_tile, last_bin);
        }
        uint32_t tiles = __ballot_sync(kFullMask, lane_begin < lane_end);
        for (; tiles != 0; tiles &= tiles - 1) {
            const int source = __ffs(tiles) - 1;
            const int end = __shfl_sync(kFullMask, lane_end, source);
            const int64_t first = static_cast<int64_t>(first_tile + source * kSelectWarps) * kTileCells;
            for (int begin = __shfl_sync(kFullMask, lane_begin, source); begin < end; begin += kWarpSize) {
                const int place = begin + lane;
                uint64_t key = 0;
                if (place < end) {
                    key = static_cast<uint64_t>(keys.scores[first + place]) << 32 | keys.indices[first + place];
                }
                visit(key);
            }
        }
    }
}

}  // namespace retinaface
