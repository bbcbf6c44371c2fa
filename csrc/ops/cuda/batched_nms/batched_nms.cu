#include <algorithm>

#include "common/aligned.h"
#include "ops/batched_nms.h"
#include "ops/cuda/batched_nms/order.cuh"
#include "ops/cuda/batched_nms/plan.cuh"
#include "ops/cuda/batched_nms/suppress.cuh"
#include "ops/cuda/batched_nms/vote.cuh"
#include "ops/cuda/common/launch.cuh"
#include "ops/cuda/common/workspace.h"

// Two launches for a whole batch: put the candidates in order (a block per image, which only checks the scores if they
// are in order already), then suppress and write the result (a block per 128 candidates). Voting takes a third.

namespace retinaface {
namespace {

NmsWorkspace carve(const BatchedNmsParams &params, Workspace &workspace) {
    const size_t batch = params.batch;
    const size_t candidates = batch * params.num_candidates;
    NmsWorkspace arrays;
    // A tile also clears the result's slots of the same numbers, of which there may be more than candidates.
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
    return workspace_bytes_of(params, carve);
}

cudaError_t batched_nms_cuda(const BatchedNmsParams &params, const BatchedNmsInputs &inputs,
                             const BatchedNmsOutputs &outputs, void *workspace, size_t workspace_bytes,
                             cudaStream_t stream) {
    if (params.batch == 0) {
        return cudaSuccess;
    }
    NmsWorkspace arrays;
    cudaError_t status = open_workspace(params, carve, workspace, workspace_bytes, arrays);
    if (status != cudaSuccess) {
        return status;
    }
    if (!is_aligned(inputs.boxes, sizeof(float4)) || !is_aligned(outputs.boxes, sizeof(float4)) ||
        !is_aligned(inputs.landmarks, sizeof(float2)) || !is_aligned(outputs.landmarks, sizeof(float2))) {
        return cudaErrorMisalignedAddress;
    }
    status = launch(order_candidates_kernel, params.batch, kOrderThreads, 0, stream, params, inputs, arrays);
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
    const dim3 groups((params.max_detections + kWarpSize - 1) / kWarpSize, params.batch);
    return launch(vote_kernel, groups, kWarpSize, 0, stream, params, inputs, outputs, arrays);
}

}  // namespace retinaface
