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

/// A lane's keys of one step of for_each_keys, 0 where it has none.
constexpr int kKeysPerLane = 4;
struct LaneKeys {
    uint64_t keys[kKeysPerLane];
};

/// Calls visit(LaneKeys) until all candidates of an image were visited, in whole warps. Reads the lower half of a key
/// only if needs_index(upper half). A step's loads are in flight together.
template <typename NeedsIndex, typename Visit>
__device__ __forceinline__ void for_each_keys(const ImageKeys &keys, int num_tiles, NeedsIndex needs_index,
                                              Visit visit) {
    constexpr int kStep = kWarpSize * kKeysPerLane;
    constexpr int kSteps = kTileCells / kStep;  // per tile
    const int lane = lane_index();
    for (int step = warp_index(); step < num_tiles * kSteps; step += kSelectWarps) {
        const int tile = step / kSteps, begin = step % kSteps * kStep;
        const int count = keys.tile_counts[tile];
        if (begin >= count) {
            continue;
        }
        const uint32_t *scores = keys.scores + static_cast<int64_t>(tile) * kTileCells;
        const uint32_t *indices = keys.indices + static_cast<int64_t>(tile) * kTileCells;
        uint32_t score[kKeysPerLane];
        LaneKeys found;
#pragma unroll
        for (int i = 0; i < kKeysPerLane; ++i) {
            int place = begin + kWarpSize * i + lane;
            score[i] = place < count ? scores[place] : 0;
        }
#pragma unroll
        for (int i = 0; i < kKeysPerLane; ++i) {
            int place = begin + kWarpSize * i + lane;
            uint32_t index = place < count && needs_index(score[i]) ? indices[place] : 0;
            found.keys[i] = static_cast<uint64_t>(score[i]) << 32 | index;
        }
        visit(found);
    }
}

}  // namespace retinaface
