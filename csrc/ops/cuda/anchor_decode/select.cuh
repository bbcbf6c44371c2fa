#pragma once

#include "math/order.h"
#include "ops/cuda/anchor_decode/plan.cuh"
#include "ops/cuda/common/block_scan.cuh"
#include "ops/cuda/common/block_sort.cuh"

namespace retinaface {

constexpr int kSelectThreads = 1024;
constexpr int kSelectWarps = kSelectThreads / 32;

using SelectSort = BlockSort<kSelectThreads, 5>;
static_assert(SelectSort::kCapacity >= kMaxTopK, "what is selected must fit");

constexpr int kDigitBits = 13;
constexpr int kBins = 1 << kDigitBits;
constexpr int kBinsPerThread = kBins / kSelectThreads;

constexpr int kPlaceBins = kSelectThreads;

struct SelectStorage {
    union {  // the bins have served when keys arrive to be sorted
        int bins[kBins];
        SelectSort::Storage sort;
    };
    int places[kPlaceBins];
    int warp_sums[kSelectWarps];
    int boundary_bin, above_boundary, in_boundary;
    int gathered;
};
static_assert(sizeof(SelectStorage) + kMaxTiles * sizeof(TileCount) <= 64 * 1024, "what sm_75 has, the least of all");

/// Orders candidates as their keys do, without the bits that all keys share: those above the range of
/// scores and those above the range of indices. Digits of these numbers tell candidates apart.
__device__ __forceinline__ uint64_t rank_of(uint64_t key, const DecodePlan &plan) {
    uint64_t score = static_cast<uint32_t>(key >> 32) - plan.lowest_score;
    return score << kIndexBits | (key & ((1u << kIndexBits) - 1));
}

/// An image's part of the workspace, and the number of candidates in each tile, in shared memory.
struct ImageKeys {
    const uint32_t *scores, *indices;
    const TileCount *tile_counts;
};

/// Calls visit(key) for all candidates of an image: whole warps together, 0 where a lane has none. The lower
/// half is read only where needs_index(upper half). A warp takes a tile at a time and has several loads in
/// flight.
template <typename NeedsIndex, typename Visit>
__device__ __forceinline__ void for_each_key(const ImageKeys &keys, int num_tiles, NeedsIndex needs_index,
                                             Visit visit) {
    constexpr int kInFlight = 2;  // of either half; with more of them, registers are spilled
    const int lane = static_cast<int>(threadIdx.x) % 32;
    for (int tile = static_cast<int>(threadIdx.x) / 32; tile < num_tiles; tile += kSelectWarps) {
        int count = keys.tile_counts[tile];
        const uint32_t *scores = keys.scores + static_cast<int64_t>(tile) * kTileCells;
        const uint32_t *indices = keys.indices + static_cast<int64_t>(tile) * kTileCells;
        for (int begin = 0; begin < count; begin += 32 * kInFlight) {
            uint32_t score[kInFlight], index[kInFlight];
#pragma unroll
            for (int i = 0; i < kInFlight; ++i) {
                int place = begin + 32 * i + lane;
                score[i] = place < count ? scores[place] : 0;
            }
#pragma unroll
            for (int i = 0; i < kInFlight; ++i) {
                int place = begin + 32 * i + lane;
                index[i] = place < count && needs_index(score[i]) ? indices[place] : 0;
            }
#pragma unroll
            for (int i = 0; i < kInFlight; ++i) {
                if (begin + 32 * i < count) {
                    visit(static_cast<uint64_t>(score[i]) << 32 | index[i]);
                }
            }
        }
    }
}

/// Counts a key in its bin. Many scores are equal where the sigmoid saturates, and equal addresses
/// would be served one by one: a warp that agrees on the bin adds once.
__device__ __forceinline__ void count_in_bin(int *bins, bool counted, int bin) {
    unsigned lanes = __ballot_sync(~0u, counted);
    if (lanes == 0) {
        return;
    }
    int leader = __ffs(lanes) - 1;
    int common = __shfl_sync(~0u, bin, leader);
    if (__all_sync(~0u, !counted || bin == common)) {
        if (static_cast<int>(threadIdx.x) % 32 == leader) {
            atomicAdd(&bins[bin], __popc(lanes));
        }
    } else if (counted) {
        atomicAdd(&bins[bin], 1);
    }
}

/// Finds the bin that holds the `wanted`-th key from above.
__device__ __forceinline__ void find_boundary(SelectStorage &s, int wanted) {
    const int top = kBins - 1 - static_cast<int>(threadIdx.x) * kBinsPerThread;  // the highest of this thread's bins
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

/// A rank from which upwards there are at least K candidates, but no more than can be sorted. Radix
/// selection from the top digit: the candidates in the bin of the K-th are told apart by the next digit,
/// until all that remain fit. Ranks are distinct, so the last digit settles it.
__device__ __forceinline__ uint64_t lowest_rank_to_sort(SelectStorage &s, const DecodePlan &plan,
                                                        const ImageKeys &keys) {
    uint64_t prefix = 0;  // the K-th candidate's digits, as far as they are known
    int above = 0;        // candidates known to be among the best
    int digit_end = plan.rank_bits;
    while (true) {
        int shift = max(digit_end - kDigitBits, 0);
        for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kSelectThreads) {
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

/// Copies the keys ranked `lowest` or higher, in any order, to where they are sorted; s.gathered is 0 before.
__device__ __forceinline__ void gather_keys(SelectStorage &s, const DecodePlan &plan, const ImageKeys &keys,
                                            uint64_t lowest) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    auto needs_index = [&](uint32_t score) { return score - plan.lowest_score >= lowest >> kIndexBits; };
    for_each_key(keys, plan.num_tiles, needs_index, [&](uint64_t key) {
        bool taken = key != 0 && rank_of(key, plan) >= lowest;
        unsigned lanes = __ballot_sync(~0u, taken);
        int first = 0;
        if (lanes != 0 && lane == 0) {
            first = atomicAdd(&s.gathered, __popc(lanes));
        }
        first = __shfl_sync(~0u, first, 0);
        if (taken) {
            s.sort.keys[first + __popc(lanes & ((1u << lane) - 1))] = key;
        }
    });
    __syncthreads();
}

/// Lists the selected with neighbours in the map together (a counting sort by the upper bits of the index),
/// for in the order of their scores they lie all over it, and each delta would be a sector of its own. Within
/// a bin the order is that of the atomics; it decides who decodes an anchor, not what comes of it.
__device__ __forceinline__ void list_selected(SelectStorage &s, const DecodePlan &plan, int selected,
                                              SelectedAnchor *list) {
    const int thread = static_cast<int>(threadIdx.x);
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
/// Candidates are compared by (score, anchor index) as one 64-bit key, a total order, so that the order
/// in which they arrive, which atomics decide, does not show. Up to 5120 of them (the common case by far)
/// are gathered and sorted at once, in shared memory; more are first narrowed down by one or two
/// histograms. (Bins count from the threshold's score: most scores share their exponent, and plain digits
/// would put nearly all of them into a few bins.)
///
/// One block per multiprocessor is said to be enough: making room for a second one, which no batch below the
/// number of multiprocessors has, the compiler spills.
static __global__ void __launch_bounds__(kSelectThreads, 1)
    select_candidates_kernel(const __grid_constant__ DecodePlan plan, DecodeWorkspace workspace, float *scores,
                             int32_t *count) {
    __shared__ SelectStorage s;
    extern __shared__ TileCount tile_counts[];
    const int64_t image = blockIdx.x;
    const int thread = static_cast<int>(threadIdx.x);
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
