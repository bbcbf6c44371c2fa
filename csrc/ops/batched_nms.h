#pragma once

#include <cstddef>
#include <cstdint>

#ifdef RETINAFACE_HAS_CUDA
#include <cuda_runtime_api.h>
#endif

namespace retinaface {

constexpr int kMaxNmsCandidates = 5000;
constexpr int kMaxNmsPayload = 1024;

struct BatchedNmsParams {
    int batch = 0;
    int num_candidates = 0;  // K: slots per image, up to kMaxNmsCandidates
    int max_detections = 0;  // M: slots per image in the result, up to kMaxNmsCandidates
    float iou_threshold = 0.4f;
    bool voting = false;
    int payload_size = 0;  // P: values that a candidate carries, up to kMaxNmsPayload
    bool has_classes = false;
    bool class_agnostic = false;  // classes are only carried; else only candidates of the same class meet
};

/// boxes [N, K, 4], scores [N, K] in any order, payload [N, K, P] (null if P is 0), count [N]: the number of candidates
/// of each image, classes [N, K] (null without). Slots from count on are not read.
struct BatchedNmsInputs {
    const float *boxes = nullptr;
    const float *scores = nullptr;
    const float *payload = nullptr;
    const int32_t *count = nullptr;
    const int32_t *classes = nullptr;
};

/// num_detections [N], boxes [N, M, 4], scores [N, M], payload [N, M, P] (null if P is 0), indices [N, M]: the kept
/// slots (may be null), classes [N, M] (null without). Entries from num_detections on are zero, and -1 in indices.
///
/// Exact greedy suppression, in the order of score (descending), then slot: a candidate is kept unless a kept one of
/// its class overlaps it with IoU > threshold, up to M over all classes. Suppressed candidates suppress no others. A
/// candidate whose score or box is not finite is left out. With voting, the box of a kept candidate becomes the mean of
/// itself and the candidates that it is the first to suppress, weighted by score and added in the order of the
/// candidates (math/vote.h); score and payload do not change.
struct BatchedNmsOutputs {
    int32_t *num_detections = nullptr;
    float *boxes = nullptr;
    float *scores = nullptr;
    float *payload = nullptr;
    int32_t *indices = nullptr;
    int32_t *classes = nullptr;
};

/// Throws InvalidArgument naming the parameter that is out of range.
void validate_batched_nms(const BatchedNmsParams &params);

/// Uses up to `num_threads` threads (0: one per core).
void batched_nms_cpu(const BatchedNmsParams &params, const BatchedNmsInputs &inputs, const BatchedNmsOutputs &outputs,
                     int num_threads = 0);

#ifdef RETINAFACE_HAS_CUDA
size_t batched_nms_workspace_bytes(const BatchedNmsParams &params);

/// All pointers are device pointers. Boxes and workspace must be aligned to 16 bytes and the payload to 8, as
/// allocations are (else cudaErrorMisalignedAddress). Does not allocate or synchronise and can be captured in a graph.
/// cudaErrorInvalidValue if the workspace is smaller than batched_nms_workspace_bytes.
cudaError_t batched_nms_cuda(const BatchedNmsParams &params, const BatchedNmsInputs &inputs,
                             const BatchedNmsOutputs &outputs, void *workspace, size_t workspace_bytes,
                             cudaStream_t stream);
#endif

}  // namespace retinaface
