#pragma once

#include "math/order.h"
#include "ops/cuda/anchor_decode/plan.cuh"
#include "ops/cuda/common/block_scan.cuh"
#include "ops/cuda/common/block_sort.cuh"

namespace retinaface {

constexpr int kSelectThreads = 1024;
constexpr int kSelectWarps = kSelectThreads / kWarpSize;

using SelectSort = BlockSort<kSelectThreads, 5>;
static_assert(SelectSort::kCapacity >= kMaxTopK, "the selected must fit");

constexpr int kDigitBits = 13;
constexpr int kBins = 1 << kDigitBits;
constexpr int kBinsPerThread = kBins / kSelectThreads;

constexpr int kPlaceBins = kSelectThreads;

struct SelectStorage {
    union {  // the bins are no longer needed when the keys are gathered
        int bins[kBins];
        SelectSort::Storage sort;
    };
    int warp_sums[kSelectWarps];
    int boundary_bin, above_boundary, in_boundary;
    int gathered;
};
static_assert(sizeof(SelectStorage) + kMaxTiles * sizeof(TileCount) <= 64 * 1024, "the limit of sm_75, the smallest");

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

/// Finds the bin with the `wanted`-th highest key.
__device__ __forceinline__ void find_boundary(SelectStorage &s, int wanted) {
    const int top = kBins - 1 - thread_index() * kBinsPerThread;  // the highest of this thread's bins
    int in_bins[kBinsPerThread];                                  // from the top
    int mine = 0;
#pragma unroll
    for (int i = 0; i < kBinsPerThread; i += 4) {  // four at a time: fewer bank conflicts
        const int4 four = *reinterpret_cast<const int4 *>(&s.bins[top - i - 3]);
        in_bins[i] = four.w;
        in_bins[i + 1] = four.z;
        in_bins[i + 2] = four.y;
        in_bins[i + 3] = four.x;
        mine += four.x + four.y + four.z + four.w;
    }
    int total;
    int above = block_inclusive_sum<kSelectThreads>(mine, s.warp_sums, &total) - mine;
#pragma unroll
    for (int i = 0; i < kBinsPerThread; ++i) {
        if (above < wanted && wanted <= above + in_bins[i]) {
            s.boundary_bin = top - i;
            s.above_boundary = above;
            s.in_boundary = in_bins[i];
        }
        above += in_bins[i];
    }
    __syncthreads();
}

/// Returns a key such that at least K candidates, but no more than can be sorted, have this key or a higher one.
/// Radix selection from the top digit: the next digit divides the candidates in the K-th one's bin, until the rest
/// fits. Ranks are distinct, so it fits after the last digit at the latest.
__device__ __forceinline__ uint64_t lowest_key_to_sort(SelectStorage &s, const DecodePlan &plan,
                                                       const ImageKeys &keys) {
    uint64_t prefix = 0;  // the digits of the K-th candidate that are known so far
    int above = 0;        // candidates known to be among the best
    int digit_end = plan.rank_bits;
    while (true) {
        int shift = max(digit_end - kDigitBits, 0);
        for (int bin = thread_index(); bin < kBins; bin += kSelectThreads) {
            s.bins[bin] = 0;
        }
        __syncthreads();
        auto needs_index = [&](uint32_t) { return shift < kIndexBits; };
        for_each_keys(keys, plan.num_tiles, needs_index, [&](const LaneKeys &found) {
#pragma unroll
            for (int i = 0; i < kKeysPerLane; ++i) {
                uint64_t rank = rank_of(found.keys[i], plan);
                if (found.keys[i] != 0 && rank >> digit_end == prefix) {
                    atomicAdd(&s.bins[static_cast<int>(rank >> shift) & ((1 << (digit_end - shift)) - 1)], 1);
                }
            }
        });
        __syncthreads();
        find_boundary(s, plan.top_k - above);
        prefix = prefix << (digit_end - shift) | static_cast<unsigned>(s.boundary_bin);
        above += s.above_boundary;
        if (above + s.in_boundary <= SelectSort::kCapacity) {
            return key_of_rank(prefix << shift, plan);
        }
        digit_end = shift;
        __syncthreads();
    }
}

/// Copies the keys from `lowest` on to s.sort, in any order. s.gathered must be 0.
__device__ __forceinline__ void gather_keys(SelectStorage &s, const DecodePlan &plan, const ImageKeys &keys,
                                            uint64_t lowest) {
    const int lane = lane_index();
    auto needs_index = [&](uint32_t score) { return score >= lowest >> 32; };
    for_each_keys(keys, plan.num_tiles, needs_index, [&](const LaneKeys &found) {
        unsigned lanes[kKeysPerLane];
        int taken = 0;
#pragma unroll
        for (int i = 0; i < kKeysPerLane; ++i) {
            lanes[i] = __ballot_sync(kFullMask, found.keys[i] != 0 && found.keys[i] >= lowest);
            taken += __popc(lanes[i]);
        }
        int first = 0;
        if (taken != 0 && lane == 0) {
            first = atomicAdd(&s.gathered, taken);
        }
        first = __shfl_sync(kFullMask, first, 0);
#pragma unroll
        for (int i = 0; i < kKeysPerLane; ++i) {
            if (has_bit(lanes[i], lane)) {
                s.sort.keys[first + __popc(lanes[i] & ((1u << lane) - 1))] = found.keys[i];
            }
            first += __popc(lanes[i]);
        }
    });
    __syncthreads();
}

/// Lists the selected anchors with neighbours in the map together (a counting sort by the upper bits of the index), so
/// that their deltas share sectors; anchors in the order of scores are scattered over the map. The order within a bin
/// is that of the atomics: it decides which thread decodes an anchor, not the result.
__device__ __forceinline__ void list_selected(SelectStorage &s, const DecodePlan &plan, int selected,
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
        list[atomicAdd(&places[index >> plan.place_shift], 1u)] = {static_cast<int32_t>(index), i};
    }
}

/// Chooses and orders the K best candidates of an image: one block per image.
///
/// Candidates are compared by (score, anchor index) as one 64-bit key. This order is total, so the result does not
/// depend on the order of the atomics. Up to 5120 candidates (nearly always) are gathered and sorted in shared memory;
/// more are first narrowed down by one histogram, rarely two. Bins start at the threshold's score: most scores share
/// their exponent, and plain digits would put nearly all of them into a few bins.
///
/// __launch_bounds__ asks for one block per multiprocessor: with two, the compiler spills. A second block would help
/// only batches with more images than multiprocessors.
static __global__ void __launch_bounds__(kSelectThreads, 1)
    select_candidates_kernel(const __grid_constant__ DecodePlan plan, DecodeWorkspace workspace, float *scores,
                             int32_t *count) {
    __shared__ SelectStorage s;
    extern __shared__ TileCount tile_counts[];
    const int64_t image = blockIdx.x;
    const int thread = thread_index();
    const int64_t first_key = image * plan.num_tiles * kTileCells;
    const ImageKeys keys = {workspace.scores + first_key, workspace.indices + first_key, tile_counts};

    int mine = 0;
    for (int tile = thread; tile < plan.num_tiles; tile += kSelectThreads) {
        int in_tile = workspace.tile_counts[image * plan.num_tiles + tile];
        tile_counts[tile] = static_cast<TileCount>(in_tile);
        mine += in_tile;
    }
    if (thread == 0) {
        s.gathered = 0;
    }
    int total;
    block_inclusive_sum<kSelectThreads>(mine, s.warp_sums, &total);

    uint64_t lowest = 0;
    if (total > SelectSort::kCapacity) {
        lowest = lowest_key_to_sort(s, plan, keys);
    }
    gather_keys(s, plan, keys, lowest);
    int gathered = s.gathered;
    SelectSort::sort(s.sort, gathered);

    int selected = min(gathered, plan.top_k);
    for (int i = thread; i < plan.top_k; i += kSelectThreads) {
        uint64_t key = i < selected ? s.sort.keys[i] : 0;
        scores[image * plan.top_k + i] = i < selected ? score_of_key(key) : 0.0f;
    }
    list_selected(s, plan, selected, workspace.selected + image * plan.top_k);
    if (thread == 0) {
        count[image] = selected;
        workspace.progress[image] = 0;
    }
}

}  // namespace retinaface
