#pragma once

#include "ops/cuda/batched_nms/image.cuh"

namespace retinaface {

constexpr int kSuppressThreads = 512;
constexpr int kSuppressWarps = kSuppressThreads / kWarpSize;
/// Warps that settle tiles, in turn: while one does, the other loads what it needs for the next tile.
constexpr int kSettlingWarps = 2;
constexpr int kEarlierWarps = kSuppressWarps - kSettlingWarps;

struct SuppressStorage {
    uint32_t kept[kMaxNmsTiles][kNmsWords];
    uint32_t suppressed[kMaxNmsTiles][kNmsWords];  // by all tiles but the own and the previous one
    int detections[kMaxNmsTiles + 1];              // of all tiles before this one
    int32_t slots[kMaxNmsCandidates];              // of the detections, in order

    /// The detections before a word of a settled tile.
    __device__ int before(int word) const {
        int sum = detections[word / kNmsWords];
        for (int other = 0; other < word % kNmsWords; ++other) {
            sum += __popc(kept[word / kNmsWords][other]);
        }
        return sum;
    }
};

/// Keeps the candidates of a word, one per lane, that no kept one before them overlaps. `open`: whether the lane's
/// candidate is still in question; `overlapped`: those of the word before it that it overlaps.
///
/// Whether a candidate is kept depends only on those before it. So each round makes at least one more bit final, and
/// bits that do not change are final. Two or three rounds usually suffice.
__device__ __forceinline__ uint32_t settle_word(bool open, uint32_t overlapped) {
    uint32_t kept = __ballot_sync(kFullMask, open), last;
    do {
        last = kept;
        kept = __ballot_sync(kFullMask, open && (overlapped & last) == 0);
    } while (kept != last);
    return kept;
}

/// One warp's part in settling: a tile's overlaps with itself and with the previous tile, [earlier word][word].
struct NearOverlaps {
    uint32_t previous[kNmsWords][kNmsWords];
    uint32_t own[kNmsWords][kNmsWords];
    uint32_t finite[kNmsWords];

    __device__ __forceinline__ void load(const NmsImage &image, int tile) {
        const uint32_t *from = image.overlaps_of(tile) + tile * kNmsWords * kNmsTile + lane_index();
#pragma unroll
        for (int word = 0; word < kNmsWords; ++word) {
            finite[word] = image.finite[tile * kNmsWords + word];
#pragma unroll
            for (int by = 0; by < kNmsWords; ++by) {
                own[by][word] = by <= word ? from[by * kNmsTile + word * kWarpSize] : 0;
                previous[by][word] = tile > 0 ? from[(by - kNmsWords) * kNmsTile + word * kWarpSize] : 0;
            }
        }
    }

    /// Decides the tile.
    __device__ __forceinline__ void settle(SuppressStorage &s, int tile, int max_detections) const {
        const int lane = lane_index();
        bool open[kNmsWords];
#pragma unroll
        for (int word = 0; word < kNmsWords; ++word) {
            uint32_t suppressors = 0;
#pragma unroll
            for (int by = 0; by < kNmsWords; ++by) {
                suppressors |= tile > 0 ? previous[by][word] & s.kept[tile - 1][by] : 0;
            }
            open[word] = has_bit(finite[word] & ~s.suppressed[tile][word], lane) && suppressors == 0;
        }
        uint32_t kept[kNmsWords];
        int detections = s.detections[tile];
#pragma unroll
        for (int word = 0; word < kNmsWords; ++word) {
            uint32_t suppressors = 0;
#pragma unroll
            for (int by = 0; by < word; ++by) {
                suppressors |= own[by][word] & kept[by];
            }
            kept[word] = settle_word(open[word] && suppressors == 0, own[word][word]);
            const int room = max_detections - detections;
            if (__popc(kept[word]) > room) {
                const int before = __popc(kept[word] & ((1u << lane) - 1));
                kept[word] = __ballot_sync(kFullMask, has_bit(kept[word], lane) && before < room);
            }
            detections += __popc(kept[word]);
        }
        if (lane == 0) {
#pragma unroll
            for (int word = 0; word < kNmsWords; ++word) {
                s.kept[tile][word] = kept[word];
            }
            s.detections[tile + 1] = detections;
        }
    }
};

constexpr __host__ __device__ int words_before_previous(int tile) {
    return (tile - 1) * kNmsWords;
}

/// One warp's part in suppressing a tile by the tiles before the previous one: its overlaps with every
/// kEarlierWarps-th of their words.
struct EarlierOverlaps {
    static constexpr int kRows = (words_before_previous(kMaxNmsTiles - 1) + kEarlierWarps - 1) / kEarlierWarps;
    uint32_t overlaps[kRows][kNmsWords];

    static __device__ __forceinline__ int row(int i) { return warp_index() - kSettlingWarps + i * kEarlierWarps; }

    /// Starts loading. Of the first `settled` tiles, words without a detection are left out.
    __device__ __forceinline__ void load(const SuppressStorage &s, const NmsImage &image, int tile, int settled) {
        const uint32_t *from = image.overlaps_of(tile) + lane_index();
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
            const int by = row(i);
            const bool needed = by < words_before_previous(tile) &&
                                (by >= settled * kNmsWords || s.kept[by / kNmsWords][by % kNmsWords] != 0);
#pragma unroll
            for (int word = 0; word < kNmsWords; ++word) {
                overlaps[i][word] = needed ? from[by * kNmsTile + word * kWarpSize] : 0;
            }
        }
    }

    /// Marks the candidates that a kept one overlaps.
    __device__ __forceinline__ void suppress(SuppressStorage &s, int tile) const {
        uint32_t suppressors[kNmsWords] = {};
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
            const int by = row(i);
            if (by < words_before_previous(tile)) {
                const uint32_t kept = s.kept[by / kNmsWords][by % kNmsWords];
#pragma unroll
                for (int word = 0; word < kNmsWords; ++word) {
                    suppressors[word] |= overlaps[i][word] & kept;
                }
            }
        }
#pragma unroll
        for (int word = 0; word < kNmsWords; ++word) {
            const uint32_t suppressed = __ballot_sync(kFullMask, suppressors[word] != 0);
            if (lane_index() == 0 && suppressed != 0) {
                atomicOr(&s.suppressed[tile][word], suppressed);
            }
        }
    }
};

/// Settles the round's tiles one after another, one barrier each, until all are or the result is full. Returns the end
/// of those that are settled.
///
/// A tile depends on all earlier ones, but only its overlaps with the previous tile and itself wait for the previous
/// tile: one warp combines those, while the others do the same for the next tile and all tiles before this one. All
/// loads are issued a step before their values are needed.
__device__ __forceinline__ int settle_tiles(SuppressStorage &s, const NmsImage &image, const NmsRound &round,
                                            int max_detections) {
    const int tiles = min(image.num_tiles(), round.end), warp = warp_index();
    NearOverlaps near;
    EarlierOverlaps earlier;
    if (round.first >= tiles) {
        return round.first;
    }
    if (warp >= kSettlingWarps) {
        earlier.load(s, image, round.first, round.first);
        earlier.suppress(s, round.first);
        if (round.first + 1 < tiles) {
            earlier.load(s, image, round.first + 1, round.first);
        }
    } else if (warp == round.first % kSettlingWarps) {
        near.load(image, round.first);
    }
    __syncthreads();
    for (int tile = round.first; tile < tiles; ++tile) {
        if (warp >= kSettlingWarps) {
            if (tile + 1 < tiles) {
                earlier.suppress(s, tile + 1);
            }
            if (tile + 2 < tiles) {
                earlier.load(s, image, tile + 2, tile);
            }
        } else if (warp == tile % kSettlingWarps) {
            near.settle(s, tile, max_detections);
        } else if (tile + 1 < tiles) {
            near.load(image, tile + 1);
        }
        __syncthreads();
        if (s.detections[tile + 1] >= max_detections) {
            return tile + 1;
        }
    }
    return tiles;
}

/// Copies the detections of the round's settled tiles to the result.
__device__ __forceinline__ void write_detections(SuppressStorage &s, const NmsImage &image, int first_tile, int settled,
                                                 const BatchedNmsParams &params, const BatchedNmsInputs &inputs,
                                                 const BatchedNmsOutputs &outputs) {
    const int64_t first_in = image.index * params.num_candidates;
    const int64_t first_out = image.index * params.max_detections;
    const int former = s.detections[first_tile], detections = s.detections[settled];
    const int lane = lane_index();
    for (int place = first_tile * kNmsTile + thread_index(); place < settled * kNmsTile; place += kSuppressThreads) {
        const int word = place / kWarpSize;
        const uint32_t kept = s.kept[word / kNmsWords][word % kNmsWords];
        if (has_bit(kept, lane)) {
            const int slot = image.slot(place);
            const int rank = s.before(word) + __popc(kept & ((1u << lane) - 1));
            s.slots[rank] = slot;
            reinterpret_cast<float4 *>(outputs.boxes)[first_out + rank] = image.boxes[place];
            outputs.scores[first_out + rank] = inputs.scores[first_in + slot];
            if (outputs.indices != nullptr) {
                outputs.indices[first_out + rank] = slot;
            }
        }
    }
    if (thread_index() == 0) {
        outputs.num_detections[image.index] = detections;
    }
    if (!carries_landmarks(params)) {
        return;
    }
    __syncthreads();
    const auto *from = reinterpret_cast<const float2 *>(inputs.payload) + first_in * kLandmarkPoints;
    auto *to = reinterpret_cast<float2 *>(outputs.payload) + first_out * kLandmarkPoints;
#pragma unroll 4
    for (int i = former * kLandmarkPoints + thread_index(); i < detections * kLandmarkPoints; i += kSuppressThreads) {
        to[i] = __ldg(from + s.slots[i / kLandmarkPoints] * kLandmarkPoints + i % kLandmarkPoints);
    }
}

/// Hands over what is kept to the next round, or to voting.
__device__ __forceinline__ void write_kept(const SuppressStorage &s, const NmsImage &image, int first_tile,
                                           int settled) {
    for (int i = first_tile * kNmsWords + thread_index(); i < image.num_tiles() * kNmsWords; i += kSuppressThreads) {
        image.kept[i] =
            i < settled * kNmsWords ? KeptWord{s.kept[i / kNmsWords][i % kNmsWords], s.before(i)} : KeptWord{};
    }
}

/// Takes over what earlier rounds have kept. The first detection of a tile is that of its first word.
__device__ __forceinline__ void read_kept(SuppressStorage &s, const NmsImage &image, int first_tile, int detections) {
    for (int i = thread_index(); i < first_tile * kNmsWords; i += kSuppressThreads) {
        s.kept[i / kNmsWords][i % kNmsWords] = image.kept[i].bits;
    }
    if (thread_index() == 0) {
        s.detections[first_tile] = detections;
    }
}

/// Greedy suppression of the pairs that overlap: one block per image, which only combines bits. Writes the result.
static __global__ void __launch_bounds__(kSuppressThreads, 1)
    suppress_kernel(BatchedNmsParams params, BatchedNmsInputs inputs, BatchedNmsOutputs outputs, NmsWorkspace workspace,
                    NmsRound round) {
    __shared__ SuppressStorage s;
    let_next_kernel_start();
    for (int i = thread_index(); i < kMaxNmsTiles * kNmsWords; i += kSuppressThreads) {
        s.suppressed[i / kNmsWords][i % kNmsWords] = 0;
    }
    wait_for_kernel_before();
    const NmsImage image(blockIdx.x, params, inputs, workspace);
    if (round.first > 0 && workspace.done[image.index] != 0) {
        return;
    }
    read_kept(s, image, round.first, round.first > 0 ? outputs.num_detections[image.index] : 0);
    __syncthreads();
    const int settled = settle_tiles(s, image, round, params.max_detections);
    write_detections(s, image, round.first, settled, params, inputs, outputs);
    write_kept(s, image, round.first, settled);
    if (thread_index() == 0) {
        workspace.done[image.index] = s.detections[settled] >= params.max_detections || settled == image.num_tiles();
    }
}

}  // namespace retinaface
