#pragma once

#include <cuda/atomic>

#include "math/box.h"
#include "ops/cuda/batched_nms/image.cuh"
#include "ops/cuda/batched_nms/plan.cuh"

namespace retinaface {

/// Four threads per candidate: thread 128 q + c tests candidate c of the block's tile against word q (32
/// candidates) of another tile. A warp shares q, so that it reads each of those boxes once, by broadcast.
constexpr int kSuppressThreads = kNmsTile * kNmsWords;

struct TileBoxes {
    float4 box[kNmsTile];
    float area[kNmsTile];
};

/// One bit per candidate of some tile, 32 to a word.
struct TileBits {
    uint32_t word[kNmsWords];

    __device__ int count() const {
        int sum = 0;
#pragma unroll
        for (int q = 0; q < kNmsWords; ++q) {
            sum += __popc(word[q]);
        }
        return sum;
    }

    __device__ bool any() const { return (word[0] | word[1] | word[2] | word[3]) != 0; }

    /// Word `q`; chosen by comparisons, so that the words can stay in registers.
    __device__ uint32_t at(int q) const {
        uint32_t chosen = word[0];
#pragma unroll
        for (int p = 1; p < kNmsWords; ++p) {
            chosen = p == q ? word[p] : chosen;
        }
        return chosen;
    }

    /// Bits set before bit `i` of word `q`.
    __device__ int rank(int q, int i) const {
        int sum = __popc(at(q) & ((1u << i) - 1));
#pragma unroll
        for (int p = 0; p < kNmsWords; ++p) {
            sum += p < q ? __popc(word[p]) : 0;
        }
        return sum;
    }
};

struct SuppressStorage {
    TileBoxes tiles[2];
    uint32_t overlap[2][kNmsWords][kNmsTile];  // [.][q][c]: whom of word q candidate c overlaps
    uint32_t overlap_own[kNmsWords][kNmsTile];
    uint32_t overlap_previous[kNmsWords][kNmsTile];
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

/// A tile's verdict is one word per 32 candidates: which are kept, and that this is final. Whoever reads
/// it also sees what the publishing block wrote before.
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

/// Which of the `candidates` of word `q` this box overlaps. `candidates` is the same for a whole warp.
__device__ __forceinline__ uint32_t overlap_word(const TileBoxes &tile, int q, uint32_t candidates, const Box &box,
                                                 float box_area, float iou_threshold) {
    uint32_t word = 0;
    auto test = [&](int i) {
        const int at = q * 32 + i;
        const Box other = to_box(tile.box[at]);
        if (may_meet(other, box) && iou(other, tile.area[at], box, box_area) > iou_threshold) {
            word |= 1u << i;
        }
    };
    if (candidates == ~0u) {  // scattered candidates, where the work is: spared the search for bits
#pragma unroll 8
        for (int i = 0; i < 32; ++i) {
            test(i);
        }
    } else {
        for (; candidates != 0; candidates &= candidates - 1) {
            test(__ffs(candidates) - 1);
        }
    }
    return word;
}

}  // namespace retinaface
