#pragma once

#include "math/decode.h"
#include "ops/cuda/batched_nms/image.cuh"
#include "ops/cuda/batched_nms/tile.cuh"

namespace retinaface {

/// A thread's candidate. Replicated in the candidate's four threads, except for `word`.
struct Candidate {
    int place;  // among the image's candidates
    int index;  // in the block's tile
    int word;   // of another tile, against which this thread tests the candidate
    Box box;
    float area;
    bool alive;
    int detection;  // for which its box votes once it is suppressed
};

/// Tests the tile's candidates against each other and against all candidates of the previous tile, before it is known
/// which of those are kept. Once that verdict is there, only bits need to be combined.
__device__ __forceinline__ void test_ahead(SuppressStorage &s, const NmsImage &image, const Candidate &mine, int tile,
                                           float iou_threshold) {
    const int word = mine.word;
    if (word < 2) {  // these threads load the own tile (0) and the previous one (1)
        int place = (tile - word) * kNmsTile + mine.index;
        float4 box = place >= 0 && place < image.count ? image.boxes[place] : float4{};
        s.tiles[word].box[mine.index] = box;
        s.tiles[word].area[mine.index] = area(to_box(box));
    }
    __syncthreads();
    const int own_word = mine.index / kWarpSize, lane = mine.index % kWarpSize;
    uint32_t in_own = 0, in_previous = 0;
    if (word <= own_word) {
        in_own = overlap_word(s.tiles[0], word, kFullMask, mine.box, mine.area, iou_threshold);
    }
    if (tile > 0) {
        in_previous = overlap_word(s.tiles[1], word, kFullMask, mine.box, mine.area, iou_threshold);
    }
    // Of the own tile only the candidates before this one.
    s.overlap_own[word][mine.index] = word < own_word ? in_own : in_own & ((1u << lane) - 1);
    s.overlap_previous[word][mine.index] = in_previous;
    __syncthreads();
}

/// Suppresses the candidate if it overlaps a kept candidate of one tile, whose detections start at `first_detection`.
template <bool kVoting>
__device__ __forceinline__ void take_verdict(const Overlaps &overlap, const TileBits &kept, int first_detection,
                                             Candidate &mine) {
    if (!mine.alive) {
        return;
    }
#pragma unroll
    for (int word = 0; word < kNmsWords; ++word) {
        uint32_t suppressors = overlap[word][mine.index] & kept.words[word];
        if (suppressors != 0 && mine.alive) {
            mine.alive = false;
            if (kVoting) {
                mine.detection = first_detection + kept.rank(word, __ffs(suppressors) - 1);
            }
        }
    }
}

/// Tests the living candidates against the detections of all earlier tiles but the previous one, as their verdicts
/// come, until no candidate is alive. One barrier per tile: two buffers alternate. settle() takes the verdict of the
/// last of these tiles, which saves a barrier.
/// Returns the number of detections in the tiles read.
template <bool kVoting>
__device__ __forceinline__ int suppress_by_earlier(SuppressStorage &s, const NmsImage &image,
                                                   const BatchedNmsParams &params, Candidate &mine, int tile) {
    const int own_word = mine.index / kWarpSize, lane = mine.index % kWarpSize;
    int before = 0, first_detection = 0;
    TileBits kept = {};
    for (int other = 0; other < tile - 1; ++other) {
        const int buffer = other % 2;
        if (mine.word == 0) {
            float4 box = image.boxes[other * kNmsTile + mine.index];  // loaded before the verdict is known
            uint32_t kept_here = wait_for(&image.verdicts[other * kNmsWords + own_word]);
            if (has_bit(kept_here, lane)) {
                s.tiles[buffer].box[mine.index] = box;
                s.tiles[buffer].area[mine.index] = area(to_box(box));
            }
            if (lane == 0) {
                s.kept[buffer].words[own_word] = kept_here;
            }
        }
        if (__syncthreads_or(mine.alive ? 1 : 0) == 0) {
            return before;
        }
        if (other > 0) {
            take_verdict<kVoting>(s.overlap[1 - buffer], kept, first_detection, mine);
        }
        kept = s.kept[buffer];
        first_detection = before;
        before += kept.count();
        uint32_t overlap = 0;
        if (__any_sync(kFullMask, mine.alive)) {
            overlap =
                overlap_word(s.tiles[buffer], mine.word, kept.at(mine.word), mine.box, mine.area, params.iou_threshold);
        }
        s.overlap[buffer][mine.word][mine.index] = overlap;
        if (!kVoting && before >= params.max_detections) {
            mine.alive = false;
            return before;
        }
    }
    return before;
}

/// The end of suppress_by_earlier, in one warp: takes the verdict of the last tile that it tested against.
template <bool kVoting>
__device__ __forceinline__ void take_last_verdict(SuppressStorage &s, int tile, TileBits &alive) {
    const int lane = lane_index();
    const TileBits kept = s.kept[tile % 2];
    const int first_detection = s.kept_before - kept.count();
#pragma unroll
    for (int word = 0; word < kNmsWords; ++word) {
        Candidate mine = {};
        mine.index = word * kWarpSize + lane;
        mine.alive = has_bit(alive.words[word], lane);
        mine.detection = s.detection[mine.index];
        take_verdict<kVoting>(s.overlap[tile % 2], kept, first_detection, mine);
        s.detection[mine.index] = mine.detection;
        alive.words[word] = __ballot_sync(kFullMask, mine.alive);
    }
}

/// Decides the tile: one warp, without a barrier, four candidates per lane. In each word of 32 it keeps the candidates
/// that overlap no undecided candidate before them, then drops those that overlap a kept one, and repeats. Each round
/// decides at least the first undecided candidate; two or three rounds usually decide all.
template <bool kVoting>
__device__ __forceinline__ void settle(SuppressStorage &s, const NmsImage &image, const BatchedNmsParams &params,
                                       int tile) {
    const int lane = lane_index();
    TileBits alive = s.alive;
    if (tile > 1 && alive.any()) {
        take_last_verdict<kVoting>(s, tile, alive);
    }
    TileBits previous = {}, kept = {};
    if (tile > 0 && alive.any()) {
        uint32_t verdict = lane < kNmsWords ? wait_for(&image.verdicts[(tile - 1) * kNmsWords + lane]) : 0;
#pragma unroll
        for (int word = 0; word < kNmsWords; ++word) {
            previous.words[word] = __shfl_sync(kFullMask, verdict, word);
        }
    }
    const int before_previous = s.kept_before;
    const int before = before_previous + previous.count();
#pragma unroll
    for (int word = 0; word < kNmsWords; ++word) {
        Candidate mine = {};
        mine.index = word * kWarpSize + lane;
        mine.alive = has_bit(alive.words[word], lane);
        mine.detection = s.detection[mine.index];
        take_verdict<kVoting>(s.overlap_previous, previous, before_previous, mine);
        take_verdict<kVoting>(s.overlap_own, kept, before, mine);  // by the words before this one

        const uint32_t overlapped = s.overlap_own[word][mine.index];
        uint32_t undecided = __ballot_sync(kFullMask, mine.alive);
        uint32_t keep = 0;
        while (undecided != 0) {
            bool open = has_bit(undecided, lane);
            uint32_t safe = __ballot_sync(kFullMask, open && (overlapped & undecided) == 0);
            uint32_t gone = __ballot_sync(kFullMask, open && (overlapped & safe) != 0);
            keep |= safe;
            undecided &= ~(safe | gone);
        }
        const int room = params.max_detections - before - kept.count();
        keep = __ballot_sync(kFullMask, has_bit(keep, lane) && __popc(keep & ((1u << lane) - 1)) < room);
        kept.words[word] = keep;
        if (kVoting) {
            take_verdict<kVoting>(s.overlap_own, kept, before, mine);
            s.detection[mine.index] = has_bit(keep, lane) ? before + kept.rank(word, lane) : mine.detection;
        }
    }
#pragma unroll
    for (int word = 0; word < kNmsWords; ++word) {
        if (lane == word) {
            publish(&image.verdicts[tile * kNmsWords + word], kept.words[word]);
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
                                                 const BatchedNmsOutputs &outputs, const Candidate &mine) {
    const int64_t first_in = image.index * params.num_candidates;
    const int64_t first_out = image.index * params.max_detections + s.kept_before;
    const TileBits kept = s.kept_own;
    if (mine.word == 0 && has_bit(kept.at(mine.index / kWarpSize), mine.index % kWarpSize)) {
        int slot = image.slots == nullptr ? mine.place : image.slots[mine.place];
        int rank = kept.rank(mine.index / kWarpSize, mine.index % kWarpSize);
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
    const auto *from = reinterpret_cast<const float2 *>(inputs.landmarks) + first_in * kLandmarkPoints;
    auto *to = reinterpret_cast<float2 *>(outputs.landmarks) + first_out * kLandmarkPoints;
    for (int i = thread_index(); i < kept.count() * kLandmarkPoints; i += kSuppressThreads) {
        to[i] = from[s.kept_slots[i / kLandmarkPoints] * kLandmarkPoints + i % kLandmarkPoints];
    }
}

/// Greedy suppression: a block per tile of 128 candidates and image, chained by their verdicts.
///
/// Only detections suppress, so candidates are compared with detections alone: few where faces cluster. A block holds
/// its candidates in registers, takes the verdicts of the tiles before it in order, then publishes its own. 5000
/// candidates make a chain of 40 links, each of which is one read of a verdict and bit arithmetic within a warp; the
/// block does everything else before that verdict arrives. A block whose candidates are all suppressed publishes at
/// once. No pairwise mask is written to memory.
///
/// Blocks take their tiles by a ticket, first tiles of all images first, and wait only for lower tickets. The blocks
/// that took those are running, so the wait ends however few blocks the device can hold.
///
/// __launch_bounds__ asks for two blocks per multiprocessor: by default the compiler aims at three, and spills.
template <bool kVoting>
__global__ void __launch_bounds__(kSuppressThreads, 2)
    suppress_kernel(BatchedNmsParams params, BatchedNmsInputs inputs, BatchedNmsOutputs outputs,
                    NmsWorkspace workspace) {
    __shared__ SuppressStorage s;
    const int thread = thread_index();
    const int word = thread / kNmsTile, index = thread % kNmsTile;
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

    const int place = tile * kNmsTile + index;
    Candidate mine = {place, index, word};
    mine.detection = -1;
    if (place < image.count) {
        mine.box = to_box(image.boxes[place]);
        mine.area = area(mine.box);
        mine.alive =
            is_finite(mine.box.x1) && is_finite(mine.box.y1) && is_finite(mine.box.x2) && is_finite(mine.box.y2);
    }
    test_ahead(s, image, mine, tile, params.iou_threshold);
    int before = suppress_by_earlier<kVoting>(s, image, params, mine, tile);
    uint32_t alive = __ballot_sync(kFullMask, mine.alive);
    if (word == 0) {
        s.detection[index] = mine.detection;
        if (index % kWarpSize == 0) {
            s.alive.words[index / kWarpSize] = alive;
        }
    }
    if (thread == 0) {
        s.kept_before = before;
    }
    __syncthreads();
    if (thread < kWarpSize) {
        settle<kVoting>(s, image, params, tile);
    }
    __syncthreads();
    write_detections(s, image, params, inputs, outputs, mine);
    if (kVoting && word == 0 && place < image.count) {
        workspace.detection[image.index * params.num_candidates + place] = static_cast<int16_t>(s.detection[index]);
    }
    if (tile == last_tile && thread < kWarpSize) {
        int detections = thread == 0 ? s.kept_own.count() : 0;
        for (int i = thread; i < tile * kNmsWords; i += kWarpSize) {
            detections += __popc(wait_for(&image.verdicts[i]));
        }
        for (int distance = kWarpSize / 2; distance > 0; distance /= 2) {
            detections += __shfl_down_sync(kFullMask, detections, distance);
        }
        if (thread == 0) {
            outputs.num_detections[image.index] = detections;
        }
    }
}

}  // namespace retinaface
