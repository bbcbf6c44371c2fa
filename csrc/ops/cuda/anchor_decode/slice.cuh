#pragma once

#include "ops/cuda/anchor_decode/keys.cuh"
#include "ops/cuda/anchor_decode/plan.cuh"
#include "ops/cuda/common/block_scan.cuh"
#include "ops/cuda/common/block_sort.cuh"

namespace retinaface {

using SelectSort = BlockSort<kSelectThreads, 5>;
static_assert(SelectSort::kCapacity >= kMaxTopK, "the selected must fit");

constexpr int kBins = 1 << kDigitBits;
constexpr int kBinsPerThread = kBins / kSelectThreads;

struct Bin {
    int number;
    int above;  // keys in higher bins
    int count;
};

struct SelectStorage {
    union {                   // the bins are no longer needed when the keys are gathered
        int bins[kBins + 4];  // the last four count nothing, see choose_slice
        SelectSort::Storage sort;
    };
    int warp_sums[kSelectWarps];
    Bin first, last;
    int gathered;
};
static_assert(sizeof(SelectStorage) + kMaxTiles * sizeof(TileCount) <= 64 * 1024, "the limit of sm_75, the smallest");

constexpr int kSliceRanks = 1280;

/// A part of an image's candidates that one block sorts: those whose keys are `lowest` or higher and whose scores are
/// `highest_score` or lower. `first` is the rank of its first candidate.
struct Slice {
    uint64_t lowest;
    uint32_t highest_score;
    int first, count;
};

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

__device__ __forceinline__ void clear_bins(SelectStorage &s) {
    auto *bins = reinterpret_cast<int4 *>(s.bins);
    for (int i = thread_index(); i < kBins / 4; i += kSelectThreads) {
        bins[i] = int4{};
    }
    __syncthreads();
}

/// Finds the bins with the `first`-th and the `last`-th highest key, counted from 1; s.first is undefined if `first` is
/// 0. Called after a barrier, and ends with one.
__device__ __forceinline__ void find_bins(SelectStorage &s, int first, int last) {
    const int top = kBins - 1 - thread_index() * kBinsPerThread;  // the highest of this thread's bins
    int counts[kBinsPerThread];                                   // from the top
    int mine = 0;
#pragma unroll
    for (int i = 0; i < kBinsPerThread; i += 4) {  // four at a time: fewer bank conflicts
        const int4 four = *reinterpret_cast<const int4 *>(&s.bins[top - i - 3]);
        counts[i] = four.w;
        counts[i + 1] = four.z;
        counts[i + 2] = four.y;
        counts[i + 3] = four.x;
        mine += four.x + four.y + four.z + four.w;
    }
    int total;
    const int above = block_inclusive_sum<kSelectThreads>(mine, s.warp_sums, &total) - mine;
    auto find = [&](int wanted, Bin &found) {
        if (above < wanted && wanted <= above + mine) {  // in one thread
            int before = above;
#pragma unroll
            for (int i = 0; i < kBinsPerThread; ++i) {
                if (before < wanted && wanted <= before + counts[i]) {
                    found = {top - i, before, counts[i]};
                }
                before += counts[i];
            }
        }
    };
    find(first, s.first);
    find(last, s.last);
    __syncthreads();
}

/// Returns the slice of the ranks from `first` on, before `end`, of those up to K. It consists of whole bins: one that
/// begins in an earlier slice belongs to that, so the slice may be empty, or have more keys than ranks.
///
/// A slice with more keys than can be sorted ends in a bin with the K-th candidate. It is narrowed down by radix
/// selection: the next digit divides the candidates in that bin, until the rest fits. Keys are distinct, so it fits
/// after the last digit at the latest.
__device__ __forceinline__ Slice choose_slice(SelectStorage &s, const DecodePlan &plan, const ImageKeys &keys,
                                              int first, int end) {
    clear_bins(s);
    for_each_score(keys, plan.num_tiles, [&](const LaneScores &found) {
#pragma unroll
        for (int i = 0; i < kScoresPerLane; ++i) {
            // Without a branch: lanes without a candidate count in a bin that is not read.
            const uint32_t score = found.scores[i];
            atomicAdd(&s.bins[score == 0 ? kBins : (score - plan.lowest_score) >> plan.score_shift], 1);
        }
    });
    __syncthreads();
    find_bins(s, first, end);

    Slice slice = {};
    slice.highest_score = UINT32_MAX;
    if (first > 0) {
        slice.first = s.first.above + s.first.count;
        slice.highest_score = plan.lowest_score + (static_cast<uint32_t>(s.first.number) << plan.score_shift) - 1;
    }
    Bin last = s.last;
    uint64_t prefix = static_cast<uint32_t>(last.number);  // the digits of the lowest key that are known so far
    int digit_end = kIndexBits + plan.score_shift;
    while (last.above + last.count - slice.first > SelectSort::kCapacity) {
        const int shift = max(digit_end - kDigitBits, 0);
        clear_bins(s);
        for_each_score(keys, plan.num_tiles, [&](const LaneScores &found) {
#pragma unroll
            for (int i = 0; i < kScoresPerLane; ++i) {
                uint64_t rank = rank_of(found.key(i, found.scores[i] != 0 && shift < kIndexBits), plan);
                if (found.scores[i] != 0 && rank >> digit_end == prefix) {
                    atomicAdd(&s.bins[static_cast<int>(rank >> shift) & ((1 << (digit_end - shift)) - 1)], 1);
                }
            }
        });
        __syncthreads();
        find_bins(s, 0, plan.top_k - last.above);
        prefix = prefix << (digit_end - shift) | static_cast<uint32_t>(s.last.number);
        last = {s.last.number, last.above + s.last.above, s.last.count};
        digit_end = shift;
    }
    slice.lowest = key_of_rank(prefix << digit_end, plan);
    slice.count = last.above + last.count - slice.first;
    return slice;
}

}  // namespace retinaface
