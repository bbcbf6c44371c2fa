#pragma once

#include <cstdint>
#include <cub/block/block_merge_sort.cuh>

#include "ops/cuda/common/warp.cuh"

namespace retinaface {

/// Sorts up to kCapacity distinct, non-zero 64-bit keys in shared memory, largest first, in one block of kThreads
/// threads.
///
/// A typical image has a few hundred candidates. They are ranked by counting: each thread compares its key with all
/// others (broadcast reads, two barriers). Above kCountingLimit keys a merge sort is cheaper. A radix sort would need
/// one pass per four of up to 50 significant bits.
template <int kThreads, int kItems>
class BlockSort {
    struct Descending {
        __device__ bool operator()(uint64_t a, uint64_t b) const { return a > b; }
    };
    using MergeSort = cub::BlockMergeSort<uint64_t, kThreads, kItems>;

  public:
    static constexpr int kCapacity = kThreads * kItems;

    /// `keys` holds the keys before and after.
    union Storage {
        uint64_t keys[kCapacity];
        typename MergeSort::TempStorage merge;
    };

    /// Called by all threads, after a barrier that follows the last write. Ends with a barrier.
    static __device__ void sort(Storage &storage, int count) {
        if (count <= kCountingLimit) {
            sort_by_counting(storage.keys, count);
        } else {
            sort_by_merging(storage, count);
        }
    }

  private:
    static constexpr int kCountingLimit = 512;
    static_assert(kCountingLimit <= kThreads, "one thread per key");

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
