#pragma once

#include "ops/cuda/anchor_decode/keys.cuh"
#include "ops/cuda/anchor_decode/plan.cuh"
#include "ops/cuda/common/block_scan.cuh"
#include "ops/cuda/common/block_sort.cuh"

namespace retinaface {

using SelectSort = BlockSort<kSelectThreads, 5>;
static_assert(SelectSort::kCapacity >= kMaxTopK, "the selected must fit");

constexpr int kSliceRanks = 1280;

constexpr int kDigitBits = 13;
constexpr int kDigits = 1 << kDigitBits;
constexpr int kDigitsPerThread = kDigits / kSelectThreads;

struct SelectStorage {
    union {  // none is needed together with another
        int bin_ends[kScoreBins];
        int digits[kDigits];
        SelectSort::Storage sort;
    };
    int warp_sums[kSelectWarps];
    int digit, above, in_digit;
    int gathered;
};
static_assert(sizeof(SelectStorage) <= 48 * 1024, "the limit of static shared memory");

/// A part of an image's candidates that one block sorts: those in some bins whose keys are `lowest` or higher. `first`
/// is the rank of its first candidate.
struct Slice {
    int first_bin, last_bin;
    uint64_t lowest;
    int first, count;
};

/// Sums up in s.bin_ends how many candidates of the image are in each bin and the bins before it.
__device__ __forceinline__ void add_bins(SelectStorage &s, const ImageKeys &keys) {
    constexpr int kThreadsPerTile = kScoreBins / 2;  // two bins each
    const int thread = thread_index(), bin = thread % kThreadsPerTile * 2;
    if (thread < kScoreBins) {
        s.bin_ends[thread] = 0;
    }
    __syncthreads();
    int first = 0, second = 0;
#pragma unroll 4
    for (int tile = thread / kThreadsPerTile; tile < keys.num_tiles; tile += kSelectThreads / kThreadsPerTile) {
        if (keys.tile_counts[tile] != 0) {
            const auto *ends =
                reinterpret_cast<const ushort2 *>(keys.bin_ends + static_cast<int64_t>(tile) * kScoreBins);
            const ushort2 both = ends[bin / 2];
            first += both.x;
            second += both.y;
        }
    }
    atomicAdd(&s.bin_ends[bin], first);
    atomicAdd(&s.bin_ends[bin + 1], second);
    __syncthreads();
}

/// Finds the digit with the `wanted`-th highest key, counted from 1, the number of keys with higher digits, and of
/// those with this one.
__device__ __forceinline__ void find_digit(SelectStorage &s, int wanted) {
    const int top = kDigits - 1 - thread_index() * kDigitsPerThread;  // the highest of this thread's digits
    int mine = 0;
    for (int i = 0; i < kDigitsPerThread; ++i) {
        mine += s.digits[top - i];
    }
    int total;
    int above = block_inclusive_sum<kSelectThreads>(mine, s.warp_sums, &total) - mine;
    if (above < wanted && wanted <= above + mine) {  // in one thread
        int digit = top;
        while (above + s.digits[digit] < wanted) {
            above += s.digits[digit--];
        }
        s.digit = digit;
        s.above = above;
        s.in_digit = s.digits[digit];
    }
    __syncthreads();
}

/// Leaves keys out of a slice that has more than can be sorted. Such a slice ends in a bin with the K-th candidate.
/// Radix selection: the next digit divides the candidates in that bin, until the rest fits. Keys are distinct, so it
/// fits after the last digit at the latest.
__device__ __forceinline__ void narrow(SelectStorage &s, const DecodePlan &plan, const ImageKeys &keys, int above,
                                       Slice &slice) {
    uint64_t prefix = kScoreBins - 1 - slice.last_bin;  // the digits of the lowest key that are known so far
    int digit_end = kIndexBits + plan.score_shift;
    while (slice.count > SelectSort::kCapacity) {
        const int shift = max(digit_end - kDigitBits, 0);
        __syncthreads();
        for (int digit = thread_index(); digit < kDigits; digit += kSelectThreads) {
            s.digits[digit] = 0;
        }
        __syncthreads();
        for_each_key(keys, slice.last_bin, slice.last_bin, [&](uint64_t key) {
            uint64_t rank = rank_of(key, plan);
            if (key != 0 && rank >> digit_end == prefix) {
                atomicAdd(&s.digits[static_cast<int>(rank >> shift) & ((1 << (digit_end - shift)) - 1)], 1);
            }
        });
        __syncthreads();
        find_digit(s, plan.top_k - above);
        prefix = prefix << (digit_end - shift) | static_cast<uint32_t>(s.digit);
        above += s.above;
        slice.count = above + s.in_digit - slice.first;
        digit_end = shift;
    }
    slice.lowest = key_of_rank(prefix << digit_end, plan);
}

/// Returns the slice of the ranks from `first` on, before `end`, of those up to K. It consists of whole bins: one that
/// begins in an earlier slice belongs to that, so the slice may be empty, or have more keys than ranks.
__device__ __forceinline__ Slice choose_slice(SelectStorage &s, const DecodePlan &plan, const ImageKeys &keys,
                                              int first, int end) {
    add_bins(s, keys);
    const int thread = thread_index();
    auto begins_before = [&](int rank) {
        const bool counted = thread < kScoreBins && (thread == 0 ? 0 : s.bin_ends[thread - 1]) < rank;
        return __syncthreads_count(counted ? 1 : 0);
    };
    Slice slice = {};
    slice.first_bin = begins_before(first);
    slice.last_bin = begins_before(end) - 1;
    slice.first = slice.first_bin == 0 ? 0 : s.bin_ends[slice.first_bin - 1];
    slice.count = s.bin_ends[slice.last_bin] - slice.first;
    const int above = slice.last_bin == 0 ? 0 : s.bin_ends[slice.last_bin - 1];
    narrow(s, plan, keys, above, slice);
    __syncthreads();
    return slice;
}

}  // namespace retinaface
