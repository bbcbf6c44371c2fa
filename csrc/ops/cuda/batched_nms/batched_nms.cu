#include <algorithm>

#include "common/aligned.h"
#include "common/workspace.h"
#include "ops/batched_nms.h"
#include "ops/cuda/batched_nms/order.cuh"
#include "ops/cuda/batched_nms/plan.cuh"
#include "ops/cuda/batched_nms/suppress.cuh"
#include "ops/cuda/batched_nms/vote.cuh"
#include "ops/cuda/common/launch.cuh"

// Two launches for a whole batch: put the candidates in order (a block per image, which does nothing but
// look where they are already), then suppress and write the result (a block per 128 candidates). Voting
// takes a third.

namespace retinaface {
namespace {

NmsWorkspace carve(const BatchedNmsParams &params, Workspace &workspace) {
    const size_t batch = params.batch;
    const size_t candidates = batch * params.num_candidates;
    NmsWorkspace arrays;
    // Slots of the result are cleared by tiles of the same numbers: there may be more of them.
    arrays.num_tiles = (std::max(params.num_candidates, params.max_detections) + kNmsTile - 1) / kNmsTile;
    arrays.order = workspace.take<NmsOrder>(batch);
    arrays.verdicts = workspace.take<uint64_t>(batch * arrays.num_tiles * kNmsWords);
    arrays.slots = workspace.take<int32_t>(candidates);
    arrays.boxes = workspace.take<float4>(candidates);
    arrays.detection = workspace.take<int16_t>(params.voting ? candidates : 0);
    arrays.ticket = workspace.take<uint32_t>(1);
    return arrays;
}

}  // namespace

size_t batched_nms_workspace_bytes(const BatchedNmsParams &params) {
    Workspace workspace(nullptr);
    carve(params, workspace);
    return workspace.bytes();
}

cudaError_t batched_nms_cuda(const BatchedNmsParams &params, const BatchedNmsInputs &inputs,
                             const BatchedNmsOutputs &outputs, void *workspace, size_t workspace_bytes,
                             cudaStream_t stream) {
    if (params.batch == 0) {
        return cudaSuccess;
    }
    Workspace carver(workspace);
    const NmsWorkspace arrays = carve(params, carver);
    if (workspace == nullptr || workspace_bytes < carver.bytes()) {
        return cudaErrorInvalidValue;
    }
    for (const void *pointer : {static_cast<const void *>(inputs.boxes), static_cast<const void *>(outputs.boxes),
                                static_cast<const void *>(workspace)}) {
        if (!is_aligned(pointer, sizeof(float4))) {
            return cudaErrorMisalignedAddress;
        }
    }
    if (!is_aligned(inputs.landmarks, sizeof(float2)) || !is_aligned(outputs.landmarks, sizeof(float2))) {
        return cudaErrorMisalignedAddress;
    }
    cudaError_t status =
        launch(order_candidates_kernel, params.batch, kOrderThreads, 0, stream, params, inputs, arrays);
    if (status != cudaSuccess) {
        return status;
    }
    const int tiles = params.batch * arrays.num_tiles;
    if (!params.voting) {
        return launch(suppress_kernel<false>, tiles, kSuppressThreads, 0, stream, params, inputs, outputs, arrays);
    }
    status = launch(suppress_kernel<true>, tiles, kSuppressThreads, 0, stream, params, inputs, outputs, arrays);
    if (status != cudaSuccess) {
        return status;
    }
    const dim3 groups((params.max_detections + 31) / 32, params.batch);
    return launch(vote_kernel, groups, 32, 0, stream, params, inputs, outputs, arrays);
}

}  // namespace retinaface
