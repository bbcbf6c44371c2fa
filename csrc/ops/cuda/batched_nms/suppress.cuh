#pragma once

#include "math/decode.h"
#include "ops/cuda/batched_nms/image.cuh"
#include "ops/cuda/batched_nms/tile.cuh"

namespace retinaface {

/// One thread's candidate; the four threads that share it agree.
struct Suspect {
    Box box;
    float area;
    bool alive;
    int detection;  // whom its box votes for once it is not alive
};

/// Tests the tile's candidates against each other and against the previous tile's, whether these will be
/// kept or not: once the previous tile's verdict is there, only bits need to be combined.
__device__ __forceinline__ void test_ahead(SuppressStorage &s, const NmsImage &image, const Suspect &mine, int tile,
                                           int q, int c, float iou_threshold) {
    if (q < 2) {
        int place = (tile - q) * kNmsTile + c;
        float4 box = place >= 0 && place < image.count ? image.boxes[place] : float4{};
        s.tiles[q].box[c] = box;
        s.tiles[q].area[c] = area(to_box(box));
    }
    __syncthreads();
    const int own_word = c / 32, lane = c % 32;
    uint32_t in_own = 0, in_previous = 0;
    if (q <= own_word) {
        in_own = overlap_word(s.tiles[0], q, ~0u, mine.box, mine.area, iou_threshold);
    }
    if (tile > 0) {
        in_previous = overlap_word(s.tiles[1], q, ~0u, mine.box, mine.area, iou_threshold);
    }
    s.overlap_own[q][c] = q < own_word ? in_own : in_own & ((1u << lane) - 1);  // only those before c
    s.overlap_previous[q][c] = in_previous;
    __syncthreads();
}

/// What the four threads of candidate c found in one tile, whose detections start with `first_detection`.
template <bool kVoting>
__device__ __forceinline__ void take_verdict(const uint32_t (&overlap)[kNmsWords][kNmsTile], const TileBits &kept,
                                             int first_detection, int c, Suspect &mine) {
    if (!mine.alive) {
        return;
    }
#pragma unroll
    for (int q = 0; q < kNmsWords; ++q) {
        uint32_t suppressors = overlap[q][c] & kept.word[q];
        if (suppressors != 0 && mine.alive) {
            mine.alive = false;
            if (kVoting) {
                mine.detection = first_detection + kept.rank(q, __ffs(suppressors) - 1);
            }
        }
    }
}

/// Tests the candidates that are alive against the detections of all earlier tiles but the previous one,
/// as their verdicts come, until none is left. One barrier per tile: buffers alternate. What the last of these
/// tiles found is left for settle(), which spares a barrier.
/// Returns the number of detections in the tiles read.
template <bool kVoting>
__device__ __forceinline__ int suppress_by_earlier(SuppressStorage &s, const NmsImage &image,
                                                   const BatchedNmsParams &params, Suspect &mine, int tile, int q,
                                                   int c) {
    const int word = c / 32, lane = c % 32;
    int before = 0, first_detection = 0;
    TileBits kept = {};
    for (int other = 0; other < tile - 1; ++other) {
        const int buffer = other % 2;
        if (q == 0) {
            float4 box = image.boxes[other * kNmsTile + c];  // before it is known whether it is needed
            uint32_t kept_here = wait_for(&image.verdicts[other * kNmsWords + word]);
            if ((kept_here >> lane & 1) != 0) {
                s.tiles[buffer].box[c] = box;
                s.tiles[buffer].area[c] = area(to_box(box));
            }
            if (lane == 0) {
                s.kept[buffer].word[word] = kept_here;
            }
        }
        if (__syncthreads_or(mine.alive ? 1 : 0) == 0) {
            return before;
        }
        if (other > 0) {
            take_verdict<kVoting>(s.overlap[1 - buffer], kept, first_detection, c, mine);
        }
        kept = s.kept[buffer];
        first_detection = before;
        before += kept.count();
        uint32_t overlap = 0;
        if (__any_sync(~0u, mine.alive)) {
            overlap = overlap_word(s.tiles[buffer], q, kept.at(q), mine.box, mine.area, params.iou_threshold);
        }
        s.overlap[buffer][q][c] = overlap;
        if (!kVoting && before >= params.max_detections) {
            mine.alive = false;
            return before;
        }
    }
    return before;
}

/// One warp's part of suppress_by_earlier: takes the verdict of the last tile that it tested against.
template <bool kVoting>
__device__ __forceinline__ void take_last_verdict(SuppressStorage &s, int tile, TileBits &alive) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const TileBits kept = s.kept[tile % 2];
    const int first_detection = s.kept_before - kept.count();
#pragma unroll
    for (int w = 0; w < kNmsWords; ++w) {
        const int c = w * 32 + lane;
        Suspect mine = {};
        mine.alive = (alive.word[w] >> lane & 1) != 0;
        mine.detection = s.detection[c];
        take_verdict<kVoting>(s.overlap[tile % 2], kept, first_detection, c, mine);
        s.detection[c] = mine.detection;
        alive.word[w] = __ballot_sync(~0u, mine.alive);
    }
}

/// Decides about the tile: one warp, without a barrier, four candidates to a lane. In each word of 32,
/// those keep that overlap no undecided candidate before them, then those go that overlap one of these:
/// the first undecided one is always decided, and mostly all are in two or three rounds.
template <bool kVoting>
__device__ __forceinline__ void settle(SuppressStorage &s, const NmsImage &image, const BatchedNmsParams &params,
                                       int tile) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const uint32_t lanes_before = (1u << lane) - 1;
    TileBits alive = s.alive;
    if (tile > 1 && alive.any()) {
        take_last_verdict<kVoting>(s, tile, alive);
    }
    TileBits previous = {}, kept = {};
    if (tile > 0 && alive.any()) {
        uint32_t verdict = lane < kNmsWords ? wait_for(&image.verdicts[(tile - 1) * kNmsWords + lane]) : 0;
#pragma unroll
        for (int q = 0; q < kNmsWords; ++q) {
            previous.word[q] = __shfl_sync(~0u, verdict, q);
        }
    }
    const int before_previous = s.kept_before;
    const int before = before_previous + previous.count();
#pragma unroll
    for (int w = 0; w < kNmsWords; ++w) {
        const int c = w * 32 + lane;
        Suspect mine = {};
        mine.alive = (alive.word[w] >> lane & 1) != 0;
        mine.detection = s.detection[c];
        take_verdict<kVoting>(s.overlap_previous, previous, before_previous, c, mine);
        take_verdict<kVoting>(s.overlap_own, kept, before, c, mine);  // the words before w

        const uint32_t overlapped = s.overlap_own[w][c];
        uint32_t undecided = __ballot_sync(~0u, mine.alive);
        uint32_t keep = 0;
        while (undecided != 0) {
            bool open = (undecided >> lane & 1) != 0;
            uint32_t safe = __ballot_sync(~0u, open && (overlapped & undecided) == 0);
            uint32_t gone = __ballot_sync(~0u, open && (overlapped & safe) != 0);
            keep |= safe;
            undecided &= ~(safe | gone);
        }
        const int room = params.max_detections - before - kept.count();
        keep = __ballot_sync(~0u, (keep >> lane & 1) != 0 && __popc(keep & lanes_before) < room);
        kept.word[w] = keep;
        if (kVoting) {
            take_verdict<kVoting>(s.overlap_own, kept, before, c, mine);
            s.detection[c] = (keep >> lane & 1) != 0 ? before + kept.rank(w, lane) : mine.detection;
        }
    }
#pragma unroll
    for (int w = 0; w < kNmsWords; ++w) {
        if (lane == w) {
            publish(&image.verdicts[tile * kNmsWords + w], kept.word[w]);
        }
    }
    if (lane == 0) {
        s.kept_own = kept;
        s.kept_before = before;
    }
}

/// Copies the tile's detections to their slots.
__device__ __forceinline__ void write_detections(SuppressStorage &s, const NmsImage &image,
                                                 const BatchedNmsParams &params, const BatchedNmsInputs &inputs,
                                                 const BatchedNmsOutputs &outputs, const Suspect &mine, int tile, int q,
                                                 int c) {
    const int64_t first_in = image.index * params.num_candidates;
    const int64_t first_out = image.index * params.max_detections + s.kept_before;
    const TileBits kept = s.kept_own;
    if (q == 0 && (kept.at(c / 32) >> c % 32 & 1) != 0) {
        int place = tile * kNmsTile + c;
        int slot = image.slots == nullptr ? place : image.slots[place];
        int rank = kept.rank(c / 32, c % 32);
        s.kept_slots[rank] = slot;
        reinterpret_cast<float4 *>(outputs.boxes)[first_out + rank] =
            make_float4(mine.box.x1, mine.box.y1, mine.box.x2, mine.box.y2);
        outputs.scores[first_out + rank] = inputs.scores[first_in + slot];
        if (outputs.indices != nullptr) {
            outputs.indices[first_out + rank] = slot;
        }
    }
    if (!params.has_landmarks) {
        return;
    }
    __syncthreads();
    const auto *from = reinterpret_cast<const float2 *>(inputs.landmarks) + first_in * kLandmarkPairs;
    auto *to = reinterpret_cast<float2 *>(outputs.landmarks) + first_out * kLandmarkPairs;
    for (int i = static_cast<int>(threadIdx.x); i < kept.count() * kLandmarkPairs; i += kSuppressThreads) {
        to[i] = from[s.kept_slots[i / kLandmarkPairs] * kLandmarkPairs + i % kLandmarkPairs];
    }
}

/// Greedy suppression: a block per tile of 128 candidates and image, chained by their verdicts.
///
/// Only detections suppress, so candidates are compared with those alone: a few, where faces cluster. A
/// block holds its candidates in registers, takes the verdicts of the tiles before it in order, and then
/// publishes its own. 5000 candidates make a chain of 40 links, each of which is one read of a verdict
/// and bit arithmetic within a warp; everything else is done before the verdict is there. A block whose
/// candidates are all suppressed publishes at once. No pairwise mask ever goes to memory.
///
/// Blocks take their tile by a ticket, the first tiles of all images first, and wait for lower tickets
/// only. Those were taken by blocks that run already: so the wait ends, however many fit on the device.
///
/// Two blocks per multiprocessor are asked for: left alone, the compiler makes room for three, and spills.
template <bool kVoting>
__global__ void __launch_bounds__(kSuppressThreads, 2)
    suppress_kernel(BatchedNmsParams params, BatchedNmsInputs inputs, BatchedNmsOutputs outputs,
                    NmsWorkspace workspace) {
    __shared__ SuppressStorage s;
    const int thread = static_cast<int>(threadIdx.x);
    const int q = thread / kNmsTile, c = thread % kNmsTile;
    if (thread == 0) {
        s.ticket = atomicAdd(workspace.ticket, 1u);
    }
    __syncthreads();
    const int tile = static_cast<int>(s.ticket / params.batch);
    const NmsImage image(s.ticket % params.batch, params, inputs, workspace);
    const int last_tile = max(0, (image.count - 1) / kNmsTile);
    clear_slots(params, outputs, image.index, tile);
    if (tile > last_tile) {
        return;
    }

    const int place = tile * kNmsTile + c;
    Suspect mine = {};
    mine.detection = -1;
    if (place < image.count) {
        mine.box = to_box(image.boxes[place]);
        mine.area = area(mine.box);
        mine.alive =
            is_finite(mine.box.x1) && is_finite(mine.box.y1) && is_finite(mine.box.x2) && is_finite(mine.box.y2);
    }
    test_ahead(s, image, mine, tile, q, c, params.iou_threshold);
    int before = suppress_by_earlier<kVoting>(s, image, params, mine, tile, q, c);
    uint32_t alive = __ballot_sync(~0u, mine.alive);
    if (q == 0) {
        s.detection[c] = mine.detection;
        if (c % 32 == 0) {
            s.alive.word[c / 32] = alive;
        }
    }
    if (thread == 0) {
        s.kept_before = before;
    }
    __syncthreads();
    if (thread < 32) {
        settle<kVoting>(s, image, params, tile);
    }
    __syncthreads();
    write_detections(s, image, params, inputs, outputs, mine, tile, q, c);
    if (kVoting && q == 0 && place < image.count) {
        workspace.detection[image.index * params.num_candidates + place] = static_cast<int16_t>(s.detection[c]);
    }
    if (tile == last_tile && thread < 32) {
        int detections = thread == 0 ? s.kept_own.count() : 0;
        for (int i = thread; i < tile * kNmsWords; i += 32) {
            detections += __popc(wait_for(&image.verdicts[i]));
        }
        for (int distance = 16; distance > 0; distance /= 2) {
            detections += __shfl_down_sync(~0u, detections, distance);
        }
        if (thread == 0) {
            outputs.num_detections[image.index] = detections;
        }
    }
}

}  // namespace retinaface
