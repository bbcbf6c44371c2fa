#pragma once

#include "math/vote.h"
#include "ops/cuda/batched_nms/image.cuh"

namespace retinaface {

/// Replaces each detection's box by the mean of its voters. Grid (groups of 32 detections, images), one
/// warp: lane d sums up the votes for detection d of the group.
///
/// The order of a sum must be that of the candidates, so the warp walks through all of them, 32 at a time,
/// and only stops for those that vote in its group. A detection's own candidate comes first by nature.
static __global__ void __launch_bounds__(32)
    vote_kernel(BatchedNmsParams params, BatchedNmsInputs inputs, BatchedNmsOutputs outputs, NmsWorkspace workspace) {
    const int lane = static_cast<int>(threadIdx.x);
    const int first_detection = static_cast<int>(blockIdx.x) * 32;
    const NmsImage image(blockIdx.y, params, inputs, workspace);
    const int detections = outputs.num_detections[image.index];
    if (first_detection >= detections) {
        return;
    }
    const int64_t first_in = image.index * params.num_candidates;
    const int16_t *detection_of = workspace.detection + first_in;
    BoxVote votes;
    // A detection's number is at most its candidate's place.
    for (int first = first_detection; first < image.count; first += 32) {
        const int place = first + lane;
        int voted = place < image.count ? detection_of[place] - first_detection : -1;
        uint32_t voters = __ballot_sync(~0u, 0 <= voted && voted < 32);
        float4 box = {};
        float score = 0.0f;
        if ((voters >> lane & 1) != 0) {
            box = image.boxes[place];
            score = inputs.scores[first_in + (image.slots == nullptr ? place : image.slots[place])];
        }
        for (; voters != 0; voters &= voters - 1) {
            int voter = __ffs(voters) - 1;
            Box voter_box = {__shfl_sync(~0u, box.x, voter), __shfl_sync(~0u, box.y, voter),
                             __shfl_sync(~0u, box.z, voter), __shfl_sync(~0u, box.w, voter)};
            float voter_score = __shfl_sync(~0u, score, voter);
            if (__shfl_sync(~0u, voted, voter) == lane) {
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
