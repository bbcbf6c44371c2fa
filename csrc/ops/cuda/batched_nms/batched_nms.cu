#include <algorithm>

#include "common/aligned.h"
#include "ops/batched_nms.h"
#include "ops/cuda/batched_nms/carry.cuh"
#include "ops/cuda/batched_nms/order.cuh"
#include "ops/cuda/batched_nms/overlap.cuh"
#include "ops/cuda/batched_nms/plan.cuh"
#include "ops/cuda/batched_nms/suppress.cuh"
#include "ops/cuda/batched_nms/vote.cuh"
#include "ops/cuda/common/dependent_launch.cuh"
#include "ops/cuda/common/launch.cuh"
#include "ops/cuda/common/workspace.h"

// Launches for a whole batch: put the candidates in order (a block per image, which only checks the scores if they are
// in order already), then in one or two rounds test pairs for overlap (all multiprocessors), suppress and write the
// result (a block per image). What candidates carry besides five landmarks takes one more launch, voting two.

namespace retinaface {
namespace {

int tiles_of(int slots) {
    return (slots + kNmsTile - 1) / kNmsTile;
}

/// Whether candidates carry more than suppress_kernel copies.
bool needs_carry(const BatchedNmsParams &params) {
    return params.has_classes || (params.payload_size != 0 && !carries_landmarks(params));
}

NmsWorkspace carve(const BatchedNmsParams &params, Workspace &workspace) {
    const size_t batch = params.batch;
    const size_t candidates = batch * params.num_candidates;
    NmsWorkspace arrays;
    arrays.num_tiles = tiles_of(params.num_candidates);
    const size_t words = batch * arrays.num_tiles * kNmsWords;
    arrays.order = workspace.take<NmsOrder>(batch);
    arrays.slots = workspace.take<int32_t>(candidates);
    arrays.boxes = workspace.take<float4>(candidates);
    arrays.finite = workspace.take<uint32_t>(words);
    arrays.overlaps = workspace.take<uint32_t>(batch * overlap_words_before(arrays.num_tiles));
    arrays.kept = workspace.take<KeptWord>(words);
    arrays.done = workspace.take<int32_t>(batch);
    arrays.detection = workspace.take<int16_t>(params.voting ? candidates : 0);
    arrays.indices = workspace.take<int32_t>(needs_carry(params) ? batch * params.max_detections : 0);
    return arrays;
}

cudaError_t run_round(const NmsRound &round, const BatchedNmsParams &params, const BatchedNmsInputs &inputs,
                      const BatchedNmsOutputs &outputs, const NmsWorkspace &arrays, cudaStream_t stream) {
    const bool per_class = params.has_classes && !params.class_agnostic;
    const cudaError_t status = launch_dependent(per_class ? find_overlaps_kernel<true> : find_overlaps_kernel<false>,
                                                dim3(round.end, round.end - round.first, params.batch), kNmsTile,
                                                stream, params, inputs, outputs, arrays, round);
    if (status != cudaSuccess) {
        return status;
    }
    return launch_dependent(suppress_kernel, params.batch, kSuppressThreads, stream, params, inputs, outputs, arrays,
                            round);
}

}  // namespace

size_t batched_nms_workspace_bytes(const BatchedNmsParams &params) {
    return workspace_bytes_of(params, carve);
}

cudaError_t batched_nms_cuda(const BatchedNmsParams &params, const BatchedNmsInputs &inputs,
                             const BatchedNmsOutputs &results, void *workspace, size_t workspace_bytes,
                             cudaStream_t stream) {
    if (params.batch == 0) {
        return cudaSuccess;
    }
    NmsWorkspace arrays;
    cudaError_t status = open_workspace(params, carve, workspace, workspace_bytes, arrays);
    if (status != cudaSuccess) {
        return status;
    }
    BatchedNmsOutputs outputs = results;
    if (needs_carry(params) && outputs.indices == nullptr) {
        outputs.indices = arrays.indices;
    }
    if (!is_aligned(inputs.boxes, sizeof(float4)) || !is_aligned(outputs.boxes, sizeof(float4)) ||
        !is_aligned(inputs.payload, sizeof(float2)) || !is_aligned(outputs.payload, sizeof(float2))) {
        return cudaErrorMisalignedAddress;
    }
    status = launch(order_candidates_kernel, params.batch, kOrderThreads, 0, stream, params, inputs, arrays);
    if (status != cudaSuccess) {
        return status;
    }
    const int first_end = std::min(arrays.num_tiles, kFirstRoundTiles);
    status = run_round({0, first_end}, params, inputs, outputs, arrays, stream);
    if (status == cudaSuccess && first_end < arrays.num_tiles) {
        status = run_round({first_end, arrays.num_tiles}, params, inputs, outputs, arrays, stream);
    }
    if (status == cudaSuccess && needs_carry(params)) {
        const dim3 groups((params.max_detections + kCarryWarps - 1) / kCarryWarps, params.batch);
        status = launch_dependent(carry_kernel, groups, kCarryWarps * kWarpSize, stream, params, inputs, outputs);
    }
    if (status != cudaSuccess || !params.voting) {
        return status;
    }
    status = launch_dependent(find_votes_kernel, dim3(arrays.num_tiles, params.batch), kNmsTile, stream, params, inputs,
                              arrays);
    if (status != cudaSuccess) {
        return status;
    }
    const dim3 groups((params.max_detections + kWarpSize - 1) / kWarpSize, params.batch);
    return launch_dependent(vote_kernel, groups, kWarpSize, stream, params, inputs, outputs, arrays);
}

}  // namespace retinaface
