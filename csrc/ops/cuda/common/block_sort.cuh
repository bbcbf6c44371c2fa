#pragma once

#include <cstdint>
#include <cub/block/block_merge_sort.cuh>

#include "ops/cuda/common/block_scan.cuh"
#include "ops/cuda/common/warp.cuh"

namespace retinaface {

/// Sorts up to kCapacity distinct, non-zero 64-bit keys in shared memory, largest first, in one block of kThreads
/// threads.
///
/// A typical image has a few hundred candidates. They are ranked by counting: each thread compares its key with all
/// others (broadcast reads, two barriers). More are first distributed over bins by their upper halves, and ranked in
/// their bins. Only if keys crowd in a bin, above all where upper halves are equal, is a merge sort cheaper.
template <int kThreads, int kItems>
class BlockSort {
    struct Descending {
        __device__ bool operator()(uint64_t a, uint64_t b) const { return a > b; }
    };
    using MergeSort = cub::BlockMergeSort<uint64_t, kThreads, kItems>;

  public:
    static constexpr int kCapacity = kThreads * kItems;

    /// `keys` holds the keys before and after. `counters` is free for the caller before and after.
    struct Storage {
        union {
            uint64_t keys[kCapacity];
            typename MergeSort::TempStorage merge;
        };
        uint32_t counters[kThreads];
        int warp_sums[kThreads / kWarpSize];
        uint32_t lowest, highest;
    };

    /// Called by all threads, after a barrier that follows the last write. Ends with a barrier.
    static __device__ void sort(Storage &storage, int count) {
        if (count <= kCountingLimit) {
            sort_by_counting(storage.keys, count);
        } else if (!sort_by_bins(storage, count)) {
            sort_by_merging(storage, count);
        }
    }

  private:
    static constexpr int kCountingLimit = 512;
    static_assert(kCountingLimit <= kThreads, "one thread per key");

    static constexpr int kBinsPerThread = 2;  // in the halves of a counter, which hold up to kCapacity
    static constexpr int kHalfBits = 16;
    static_assert(kCapacity < 1 << kHalfBits, "a half must hold the number of keys");
    static constexpr int kBins = kThreads * kBinsPerThread;
    static constexpr uint32_t kMaxInBin = 64;  // ranking takes as many steps; more cost as much as merging

    static __device__ int half_of(uint32_t counter, int bin) {
        return static_cast<int>(counter >> bin % kBinsPerThread * kHalfBits & ((1u << kHalfBits) - 1));
    }
    static __device__ uint32_t one_in_half(int bin) { return 1u << bin % kBinsPerThread * kHalfBits; }

    /// Sets the range of the keys' upper halves.
    static __device__ void find_range(Storage &storage, const uint64_t (&keys)[kItems]) {
        uint32_t lowest = UINT32_MAX, highest = 0;
#pragma unroll
        for (int i = 0; i < kItems; ++i) {
            uint32_t upper = static_cast<uint32_t>(keys[i] >> 32);
            lowest = keys[i] != 0 ? min(lowest, upper) : lowest;
            highest = max(highest, upper);
        }
#pragma unroll
        for (int distance = kWarpSize / 2; distance > 0; distance /= 2) {
            lowest = min(lowest, __shfl_xor_sync(kFullMask, lowest, distance));
            highest = max(highest, __shfl_xor_sync(kFullMask, highest, distance));
        }
        if (lane_index() == 0) {
            atomicMin(&storage.lowest, lowest);
            atomicMax(&storage.highest, highest);
        }
    }

    /// Returns false, with the keys unchanged, if a bin has too many.
    static __device__ bool sort_by_bins(Storage &storage, int count) {
        const int thread = thread_index();
        uint64_t keys[kItems];
#pragma unroll
        for (int i = 0; i < kItems; ++i) {
            int at = thread + i * kThreads;
            keys[i] = at < count ? storage.keys[at] : 0;
        }
        storage.counters[thread] = 0;
        if (thread == 0) {
            storage.lowest = UINT32_MAX;
            storage.highest = 0;
        }
        __syncthreads();
        find_range(storage, keys);
        __syncthreads();

        const uint32_t highest = storage.highest;
        // The highest bin first; as narrow as the number of bins allows, with a power of two as width.
        const int shift = max(0, 32 - __clz(static_cast<int>((highest - storage.lowest) / kBins)));
        auto bin_of = [&](uint64_t key) {
            return static_cast<int>((highest - static_cast<uint32_t>(key >> 32)) >> shift);
        };
#pragma unroll
        for (int i = 0; i < kItems; ++i) {
            if (keys[i] != 0) {
                const int bin = bin_of(keys[i]);
                atomicAdd(&storage.counters[bin / kBinsPerThread], one_in_half(bin));
            }
        }
        __syncthreads();
        const uint32_t counts = storage.counters[thread];
        const int first = half_of(counts, 0), second = half_of(counts, 1);
        if (__syncthreads_or(max(first, second) > kMaxInBin) != 0) {
            return false;
        }
        int total;
        const int begin = block_inclusive_sum<kThreads>(first + second, storage.warp_sums, &total) - first - second;
        storage.counters[thread] = static_cast<uint32_t>(begin) | static_cast<uint32_t>(begin + first) << kHalfBits;
        __syncthreads();

        // A counter is its bin's next place, and in the end the beginning of the next bin.
#pragma unroll
        for (int i = 0; i < kItems; ++i) {
            if (keys[i] != 0) {
                const int bin = bin_of(keys[i]);
                const uint32_t next = atomicAdd(&storage.counters[bin / kBinsPerThread], one_in_half(bin));
                storage.keys[half_of(next, bin)] = keys[i];
            }
        }
        __syncthreads();
        int ranks[kItems];
#pragma unroll
        for (int i = 0; i < kItems; ++i) {
            const int at = thread + i * kThreads;
            keys[i] = at < count ? storage.keys[at] : 0;
            ranks[i] = 0;
            if (at < count) {
                const int bin = bin_of(keys[i]);
                const int end = half_of(storage.counters[bin / kBinsPerThread], bin);
                ranks[i] = bin == 0 ? 0 : half_of(storage.counters[(bin - 1) / kBinsPerThread], bin - 1);
                for (int other = ranks[i]; other < end; ++other) {
                    ranks[i] += storage.keys[other] > keys[i] ? 1 : 0;
                }
            }
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < kItems; ++i) {
            if (keys[i] != 0) {
                storage.keys[ranks[i]] = keys[i];
            }
        }
        __syncthreads();
        return true;
    }

    static __device__ void sort_by_counting(uint64_t *keys, int count) {
        int thread = thread_index();
        uint64_t mine = 0;
        int rank = 0;
        if (thread < count) {
            mine = keys[thread];
            for (int i = 0; i < count; ++i) {
                rank += keys[i] > mine ? 1 : 0;
            }
        }
        __syncthreads();
        if (thread < count) {
            keys[rank] = mine;
        }
        __syncthreads();
    }

    static __device__ void sort_by_merging(Storage &storage, int count) {
        int first = thread_index() * kItems;
        uint64_t items[kItems];
        for (int i = 0; i < kItems; ++i) {
            items[i] = first + i < count ? storage.keys[first + i] : 0;
        }
        __syncthreads();
        MergeSort(storage.merge).Sort(items, Descending());
        __syncthreads();
        for (int i = 0; i < kItems; ++i) {
            storage.keys[first + i] = items[i];
        }
        __syncthreads();
    }
};

}  // namespace retinaface
