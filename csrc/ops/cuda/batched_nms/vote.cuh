#pragma once

#include "math/vote.h"
#include "ops/cuda/batched_nms/image.cuh"

namespace retinaface {

/// Finds the detection for which each candidate votes: its own if it is kept, else the first that overlaps it. Grid
/// (tiles, images), a thread per candidate.
static __global__ void __launch_bounds__(kNmsTile)
    find_votes_kernel(BatchedNmsParams params, BatchedNmsInputs inputs, NmsWorkspace workspace) {
    constexpr int kInFlight = 8;
    let_next_kernel_start();
    wait_for_kernel_before();
    const int tile = blockIdx.x, thread = thread_index();
    const NmsImage image(blockIdx.y, params, inputs, workspace);
    const int place = tile * kNmsTile + thread;
    if (place >= image.count) {
        return;
    }
    const KeptWord *kept = workspace.kept + image.index * workspace.num_tiles * kNmsWords;
    const uint32_t *overlaps = image.overlaps_of(tile) + thread;
    const int own_word = place / kWarpSize;
    int detection = -1;
    for (int first = 0; first <= own_word && detection < 0; first += kInFlight) {
        uint32_t voted[kInFlight];
#pragma unroll
        for (int i = 0; i < kInFlight; ++i) {
            const int word = first + i;
            voted[i] = word <= own_word
                           ? (overlaps[word * kNmsTile] | (word == own_word ? 1u << lane_index() : 0)) & kept[word].bits
                           : 0;
        }
#pragma unroll
        for (int i = 0; i < kInFlight; ++i) {
            if (voted[i] != 0 && detection < 0) {
                const KeptWord word = kept[first + i];
                detection = word.before + __popc(word.bits & ((voted[i] & -voted[i]) - 1));
            }
        }
    }
    workspace.detection[image.index * params.num_candidates + place] = static_cast<int16_t>(detection);
}

/// Replaces each detection's box by the mean of its voters. Grid (groups of 32 detections, images), one warp per block:
/// lane i adds the votes for detection i of the group.
///
/// Votes are added in the order of the candidates. So the warp goes through all candidates, 32 at a time, and stops
/// only for those that vote in its group. A detection's own candidate is the first of its voters.
static __global__ void __launch_bounds__(kWarpSize)
    vote_kernel(BatchedNmsParams params, BatchedNmsInputs inputs, BatchedNmsOutputs outputs, NmsWorkspace workspace) {
    wait_for_kernel_before();
    const int lane = thread_index();
    const int first_detection = static_cast<int>(blockIdx.x) * kWarpSize;
    const NmsImage image(blockIdx.y, params, inputs, workspace);
    const int detections = outputs.num_detections[image.index];
    if (first_detection >= detections) {
        return;
    }
    const int64_t first_in = image.index * params.num_candidates;
    const int16_t *detection_of = workspace.detection + first_in;
    BoxVote votes;
    // No detection's number exceeds its candidate's place: earlier candidates do not vote here.
    for (int first = first_detection; first < image.count; first += kWarpSize) {
        const int place = first + lane;
        int voted = place < image.count ? detection_of[place] - first_detection : -1;
        uint32_t voters = __ballot_sync(kFullMask, 0 <= voted && voted < kWarpSize);
        float4 box = {};
        float score = 0.0f;
        if (has_bit(voters, lane)) {
            box = image.boxes[place];
            score = inputs.scores[first_in + image.slot(place)];
        }
        for (; voters != 0; voters &= voters - 1) {
            int voter = __ffs(voters) - 1;
            Box voter_box = {__shfl_sync(kFullMask, box.x, voter), __shfl_sync(kFullMask, box.y, voter),
                             __shfl_sync(kFullMask, box.z, voter), __shfl_sync(kFullMask, box.w, voter)};
            float voter_score = __shfl_sync(kFullMask, score, voter);
            if (__shfl_sync(kFullMask, voted, voter) == lane) {
                votes.add(voter_box, voter_score);
            }
        }
    }
    if (first_detection + lane < detections) {
        auto *out = reinterpret_cast<float4 *>(outputs.boxes) + image.index * params.max_detections;
        Box mean = votes.mean(to_box(out[first_detection + lane]));
        out[first_detection + lane] = make_float4(mean.x1, mean.y1, mean.x2, mean.y2);
    }
}

}  // namespace retinaface
