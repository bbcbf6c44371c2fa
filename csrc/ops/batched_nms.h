#pragma once

#include <cstddef>
#include <cstdint>

#ifdef RETINAFACE_HAS_CUDA
#include <cuda_runtime_api.h>
#endif

namespace retinaface {

constexpr int kMaxNmsCandidates = 5000;

struct BatchedNmsParams {
    int batch = 0;
    int num_candidates = 0;  // K: slots per image, up to kMaxNmsCandidates
    int max_detections = 0;  // M: slots per image in the result, up to kMaxNmsCandidates
    float iou_threshold = 0.4f;
    bool voting = false;
    bool has_landmarks = true;
};

/// boxes [N, K, 4], scores [N, K], landmarks [N, K, 10] (null without), count [N]: the number of
/// candidates of each image, in any order; slots from count on are not read.
struct BatchedNmsInputs {
    const float *boxes = nullptr;
    const float *scores = nullptr;
    const float *landmarks = nullptr;
    const int32_t *count = nullptr;
};

/// num_detections [N], boxes [N, M, 4], scores [N, M], landmarks [N, M, 10] (null without), indices
/// [N, M]: the slots kept (may be null). From num_detections on: zeros, and -1 in indices.
///
/// Exact greedy suppression: candidates by score (descending), then slot; each one that no kept
/// candidate overlaps with IoU > threshold is kept, up to M. Suppressed candidates suppress nobody. A
/// candidate whose score or box is not finite is left out. With voting, the box of a kept candidate
/// becomes the mean of itself and the candidates that it is the first to suppress, weighted by score and
/// added in the order of the candidates (math/vote.h); score and landmarks stay.
struct BatchedNmsOutputs {
    int32_t *num_detections = nullptr;
    float *boxes = nullptr;
    float *scores = nullptr;
    float *landmarks = nullptr;
    int32_t *indices = nullptr;
};

/// Throws InvalidArgument naming the parameter that is out of range.
void validate_batched_nms(const BatchedNmsParams &params);

/// Runs on up to `num_threads` threads (0: one per core).
void batched_nms_cpu(const BatchedNmsParams &params, const BatchedNmsInputs &inputs, const BatchedNmsOutputs &outputs,
                     int num_threads = 0);

#ifdef RETINAFACE_HAS_CUDA
size_t batched_nms_workspace_bytes(const BatchedNmsParams &params);

/// All pointers are on the device; boxes and workspace are aligned to 16 bytes and landmarks to 8, as
/// allocations are (else cudaErrorMisalignedAddress). Allocates nothing, synchronises nothing, may be
/// captured in a graph. cudaErrorInvalidValue where the workspace is smaller than
/// batched_nms_workspace_bytes says.
cudaError_t batched_nms_cuda(const BatchedNmsParams &params, const BatchedNmsInputs &inputs,
                             const BatchedNmsOutputs &outputs, void *workspace, size_t workspace_bytes,
                             cudaStream_t stream);
#endif

}  // namespace retinaface
