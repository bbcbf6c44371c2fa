#pragma once

#include <cuda/atomic>

#include "math/box.h"
#include "ops/cuda/batched_nms/image.cuh"
#include "ops/cuda/batched_nms/plan.cuh"

namespace retinaface {

/// Four threads per candidate, each of which tests it against one word (32 candidates) of another tile. The threads of
/// a warp have the same word, so they read each of its boxes by one broadcast.
constexpr int kSuppressThreads = kNmsTile * kNmsWords;

struct TileBoxes {
    float4 box[kNmsTile];
    float area[kNmsTile];
};

/// One bit per candidate of a tile.
struct TileBits {
    uint32_t words[kNmsWords];

    __device__ int count() const {
        int sum = 0;
#pragma unroll
        for (int word = 0; word < kNmsWords; ++word) {
            sum += __popc(words[word]);
        }
        return sum;
    }

    __device__ bool any() const { return (words[0] | words[1] | words[2] | words[3]) != 0; }

    /// words[word], chosen by comparisons, so that the words can stay in registers.
    __device__ uint32_t at(int word) const {
        uint32_t chosen = words[0];
#pragma unroll
        for (int other = 1; other < kNmsWords; ++other) {
            chosen = other == word ? words[other] : chosen;
        }
        return chosen;
    }

    /// Number of bits set before bit `bit` of words[word].
    __device__ int rank(int word, int bit) const {
        int sum = __popc(at(word) & ((1u << bit) - 1));
#pragma unroll
        for (int other = 0; other < kNmsWords; ++other) {
            sum += other < word ? __popc(words[other]) : 0;
        }
        return sum;
    }
};

/// For each word and candidate: the candidates of that word which this candidate overlaps.
using Overlaps = uint32_t[kNmsWords][kNmsTile];

struct SuppressStorage {
    TileBoxes tiles[2];
    Overlaps overlap[2];
    Overlaps overlap_own;
    Overlaps overlap_previous;
    TileBits kept[2];
    TileBits alive;   // after all earlier tiles but the previous two
    int kept_before;  // detections of earlier tiles
    TileBits kept_own;
    int32_t kept_slots[kNmsTile];  // of the tile's detections, in order
    int32_t detection[kNmsTile];   // see NmsWorkspace
    uint32_t ticket;
};

using Verdict = cuda::atomic_ref<uint64_t, cuda::thread_scope_device>;
constexpr uint64_t kDecided = uint64_t{1} << 32;

/// Publishes one word of a tile's verdict: the kept candidates, and the flag that they are final. A block that reads it
/// also sees all earlier writes of the publishing block.
__device__ __forceinline__ void publish(uint64_t *verdict, uint32_t kept) {
    Verdict(*verdict).store(kDecided | kept, cuda::memory_order_release);
}

__device__ __forceinline__ uint32_t wait_for(uint64_t *verdict) {
    uint64_t word = Verdict(*verdict).load(cuda::memory_order_acquire);
    while ((word & kDecided) == 0) {
        __nanosleep(20);
        word = Verdict(*verdict).load(cuda::memory_order_acquire);
    }
    return static_cast<uint32_t>(word);
}

/// Returns which of the `tested` candidates of a word the box overlaps. `tested` is the same in all lanes of a warp.
__device__ __forceinline__ uint32_t overlap_word(const TileBoxes &tile, int word, uint32_t tested, const Box &box,
                                                 float box_area, float iou_threshold) {
    uint32_t overlapped = 0;
    auto test = [&](int bit) {
        const int at = word * kWarpSize + bit;
        const Box other = to_box(tile.box[at]);
        if (may_meet(other, box) && iou(other, tile.area[at], box, box_area) > iou_threshold) {
            overlapped |= 1u << bit;
        }
    };
    if (tested == kFullMask) {  // scattered candidates, the expensive case: no search for bits
#pragma unroll 8
        for (int bit = 0; bit < kWarpSize; ++bit) {
            test(bit);
        }
    } else {
        for (; tested != 0; tested &= tested - 1) {
            test(__ffs(tested) - 1);
        }
    }
    return overlapped;
}

}  // namespace retinaface
