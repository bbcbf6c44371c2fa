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
    int places[kPlaceBins];
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

/// An image's part of the workspace. `tile_counts` lies in shared memory.
struct ImageKeys {
    const uint32_t *scores, *indices;
    const TileCount *tile_counts;
};

/// Calls visit(key) for all candidates of an image, in whole warps; a lane without a candidate gets 0. Reads the lower
/// half of a key only if needs_index(upper half). Each warp takes one tile at a time and keeps several loads in flight.
template <typename NeedsIndex, typename Visit>
__device__ __forceinline__ void for_each_key(const ImageKeys &keys, int num_tiles, NeedsIndex needs_index,
                                             Visit visit) {
    constexpr int kInFlight = 2;  // of each half; more would spill registers
    const int lane = lane_index();
    for (int tile = warp_index(); tile < num_tiles; tile += kSelectWarps) {
        int count = keys.tile_counts[tile];
        const uint32_t *scores = keys.scores + static_cast<int64_t>(tile) * kTileCells;
        const uint32_t *indices = keys.indices + static_cast<int64_t>(tile) * kTileCells;
        for (int begin = 0; begin < count; begin += kWarpSize * kInFlight) {
            uint32_t score[kInFlight], index[kInFlight];
#pragma unroll
            for (int i = 0; i < kInFlight; ++i) {
                int place = begin + kWarpSize * i + lane;
                score[i] = place < count ? scores[place] : 0;
            }
#pragma unroll
            for (int i = 0; i < kInFlight; ++i) {
                int place = begin + kWarpSize * i + lane;
                index[i] = place < count && needs_index(score[i]) ? indices[place] : 0;
            }
#pragma unroll
            for (int i = 0; i < kInFlight; ++i) {
                if (begin + kWarpSize * i < count) {
                    visit(static_cast<uint64_t>(score[i]) << 32 | index[i]);
                }
            }
        }
    }
}

/// Counts a key in its bin. Where the sigmoid saturates many scores are equal, and atomics on the same address run one
/// after another: so a warp whose keys all have the same bin adds once.
__device__ __forceinline__ void count_in_bin(int *bins, bool counted, int bin) {
    unsigned lanes = __ballot_sync(kFullMask, counted);
    if (lanes == 0) {
        return;
    }
    int leader = __ffs(lanes) - 1;
    int common = __shfl_sync(kFullMask, bin, leader);
    if (__all_sync(kFullMask, !counted || bin == common)) {
        if (lane_index() == leader) {
            atomicAdd(&bins[bin], __popc(lanes));
        }
    } else if (counted) {
        atomicAdd(&bins[bin], 1);
    }
}

/// Finds the bin with the `wanted`-th highest key.
__device__ __forceinline__ void find_boundary(SelectStorage &s, int wanted) {
    const int top = kBins - 1 - thread_index() * kBinsPerThread;  // the highest of this thread's bins
    int mine = 0;
#pragma unroll
    for (int i = 0; i < kBinsPerThread; ++i) {
        mine += s.bins[top - i];
    }
    int total;
    int above = block_inclusive_sum<kSelectThreads>(mine, s.warp_sums, &total) - mine;
#pragma unroll
    for (int i = 0; i < kBinsPerThread; ++i) {
        int in_bin = s.bins[top - i];
        if (above < wanted && wanted <= above + in_bin) {
            s.boundary_bin = top - i;
            s.above_boundary = above;
            s.in_boundary = in_bin;
        }
        above += in_bin;
    }
    __syncthreads();
}

/// Returns a rank such that at least K candidates, but no more than can be sorted, have this rank or a higher one.
/// Radix selection from the top digit: the next digit divides the candidates in the K-th one's bin, until the rest
/// fits. Ranks are distinct, so it fits after the last digit at the latest.
__device__ __forceinline__ uint64_t lowest_rank_to_sort(SelectStorage &s, const DecodePlan &plan,
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
        for_each_key(keys, plan.num_tiles, needs_index, [&](uint64_t key) {
            uint64_t rank = rank_of(key, plan);
            bool counted = key != 0 && rank >> digit_end == prefix;
            count_in_bin(s.bins, counted, static_cast<int>(rank >> shift) & ((1 << (digit_end - shift)) - 1));
        });
        __syncthreads();
        find_boundary(s, plan.top_k - above);
        prefix = prefix << (digit_end - shift) | static_cast<unsigned>(s.boundary_bin);
        above += s.above_boundary;
        if (above + s.in_boundary <= SelectSort::kCapacity) {
            return prefix << shift;
        }
        digit_end = shift;
        __syncthreads();
    }
}

/// Copies the keys of rank `lowest` or higher to s.sort, in any order. s.gathered must be 0.
__device__ __forceinline__ void gather_keys(SelectStorage &s, const DecodePlan &plan, const ImageKeys &keys,
                                            uint64_t lowest) {
    const int lane = lane_index();
    auto needs_index = [&](uint32_t score) { return score - plan.lowest_score >= lowest >> kIndexBits; };
    for_each_key(keys, plan.num_tiles, needs_index, [&](uint64_t key) {
        bool taken = key != 0 && rank_of(key, plan) >= lowest;
        unsigned lanes = __ballot_sync(kFullMask, taken);
        int first = 0;
        if (lanes != 0 && lane == 0) {
            first = atomicAdd(&s.gathered, __popc(lanes));
        }
        first = __shfl_sync(kFullMask, first, 0);
        if (taken) {
            s.sort.keys[first + __popc(lanes & ((1u << lane) - 1))] = key;
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
    s.places[thread] = 0;
    __syncthreads();
    for (int i = thread; i < selected; i += kSelectThreads) {
        atomicAdd(&s.places[index_of_key(s.sort.keys[i]) >> plan.place_shift], 1);
    }
    __syncthreads();
    int in_bin = s.places[thread];
    int total;
    int first = block_inclusive_sum<kSelectThreads>(in_bin, s.warp_sums, &total) - in_bin;
    s.places[thread] = first;
    __syncthreads();
    for (int i = thread; i < selected; i += kSelectThreads) {
        uint32_t index = index_of_key(s.sort.keys[i]);
        list[atomicAdd(&s.places[index >> plan.place_shift], 1)] = {static_cast<int32_t>(index), i};
    }
}

/// Chooses and orders the K best candidates of an image: one block per image.
///
/// Candidates are compared by (score, anchor index) as one 64-bit key. This order is total, so the result does not
/// depend on the order of the atomics. Up to 5120 candidates (nearly always) are gathered and sorted in shared memory;
/// more are first narrowed down by one or two histograms. Bins start at the threshold's score: most scores share their
/// exponent, and plain digits would put nearly all of them into a few bins.
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
        lowest = lowest_rank_to_sort(s, plan, keys);
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
