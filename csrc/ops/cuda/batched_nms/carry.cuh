#pragma once

#include "ops/cuda/batched_nms/plan.cuh"
#include "ops/cuda/common/dependent_launch.cuh"

namespace retinaface {

constexpr int kCarryWarps = 4;

/// Copies what the detections carry: their classes, and their payload unless it is five landmarks, which
/// suppress_kernel copies. Clears the slots without a detection.
///
/// Grid (groups of kCarryWarps detections, images), a warp for each: its lanes copy neighbouring values. `indices` [N,
/// M]: the detections' slots, -1 for none.
static __global__ void __launch_bounds__(kCarryWarps *kWarpSize)
    carry_kernel(BatchedNmsParams params, BatchedNmsInputs inputs, BatchedNmsOutputs outputs) {
    let_next_kernel_start();
    wait_for_kernel_before();
    const int detection = static_cast<int>(blockIdx.x) * kCarryWarps + warp_index();
    if (detection >= params.max_detections) {
        return;
    }
    const int64_t image = blockIdx.y;
    const int64_t to = image * params.max_detections + detection;
    const int32_t slot = outputs.indices[to];
    const int64_t from = image * params.num_candidates + slot;
    if (params.has_classes && lane_index() == 0) {
        outputs.classes[to] = slot < 0 ? 0 : inputs.classes[from];
    }
    if (carries_landmarks(params)) {
        return;
    }
    for (int i = lane_index(); i < params.payload_size; i += kWarpSize) {
        outputs.payload[to * params.payload_size + i] =
            slot < 0 ? 0.0f : inputs.payload[from * params.payload_size + i];
    }
}

}  // namespace retinaface
