#pragma once

#include <cstddef>
#include <cstdint>

#include "common/dtype.h"
#include "common/landmarks.h"

#ifdef RETINAFACE_HAS_CUDA
#include <cuda_runtime_api.h>
#endif

namespace retinaface {

constexpr int kMaxLevels = 8;
constexpr int kMaxAnchorsPerCell = 8;
constexpr int kMaxAnchorsPerImage = 1 << 22;  // 4096 x 4096 pixels at three anchors per cell from stride 4 on
constexpr int kMaxTopK = 5000;

/// Sides of an anchor in pixels of the network's input.
struct AnchorSize {
    float width = 0.0f;
    float height = 0.0f;
};

/// One level of the feature pyramid: the size of its maps and the anchors in each of their cells.
struct AnchorLevel {
    int height = 0;
    int width = 0;
    int stride = 0;
    int num_anchors = 0;
    AnchorSize anchor_sizes[kMaxAnchorsPerCell] = {};
};

/// Decoding of raw heads into candidates.
struct AnchorDecodeParams {
    int batch = 0;
    int num_levels = 0;
    AnchorLevel levels[kMaxLevels];
    float centre_variance = 0.1f;
    float size_variance = 0.2f;
    float score_threshold = 0.5f;
    int top_k = kMaxTopK;
    bool has_landmarks = true;
    bool cascade = false;           // box and landmark deltas refer to the anchors as moved by anchor_deltas
    DType dtype = DType::kFloat32;  // of the heads; results are float32
};

/// Raw heads per level, NCHW and contiguous, as the convolutions return them: logits [N, 2A, h, w] (channel 2a is
/// background and 2a + 1 face, of anchor a), box_deltas [N, 4A, h, w], landmark_deltas [N, 10A, h, w]; in a cascade
/// also anchor_deltas [N, 4A, h, w], the first stage's box deltas. Its boxes are the anchors of the other heads.
struct AnchorDecodeInputs {
    const void *logits[kMaxLevels] = {};
    const void *box_deltas[kMaxLevels] = {};
    const void *landmark_deltas[kMaxLevels] = {};
    const void *anchor_deltas[kMaxLevels] = {};
};

/// boxes [N, K, 4] x1 y1 x2 y2 in pixels of the network's input, scores [N, K], landmarks [N, K, 10]
/// (null without landmark heads), count [N]. Entries from count on are zero.
///
/// The result has the K best of the anchors with a score above the threshold, ordered by score (descending), then by
/// anchor index. The index counts levels, then rows, columns and anchors of a cell. The threshold t is applied to the
/// logit margin: margin > log(t / (1 - t)). An anchor whose margin is not finite is no candidate. One of the K best
/// whose box or landmarks are not finite is left out and not replaced.
struct AnchorDecodeOutputs {
    float *boxes = nullptr;
    float *scores = nullptr;
    float *landmarks = nullptr;
    int32_t *count = nullptr;
};

/// Throws InvalidArgument naming the parameter that is out of range.
void validate_anchor_decode(const AnchorDecodeParams &params);

/// Anchors of one image, over all levels.
int64_t num_anchors_of(const AnchorDecodeParams &params);

/// The logit margin that corresponds to a score of `score_threshold`; -inf for 0, inf for 1.
float margin_threshold(float score_threshold);

/// Heads must be float32. Uses up to `num_threads` threads (0: one per core).
void anchor_decode_cpu(const AnchorDecodeParams &params, const AnchorDecodeInputs &inputs,
                       const AnchorDecodeOutputs &outputs, int num_threads = 0);

#ifdef RETINAFACE_HAS_CUDA
size_t anchor_decode_workspace_bytes(const AnchorDecodeParams &params);

/// All pointers are device pointers. Boxes and workspace must be aligned to 16 bytes and landmarks to 8, as allocations
/// are (else cudaErrorMisalignedAddress). Does not allocate or synchronise and can be captured in a graph.
/// cudaErrorInvalidValue if the workspace is smaller than anchor_decode_workspace_bytes.
cudaError_t anchor_decode_cuda(const AnchorDecodeParams &params, const AnchorDecodeInputs &inputs,
                               const AnchorDecodeOutputs &outputs, void *workspace, size_t workspace_bytes,
                               cudaStream_t stream);
#endif

}  // namespace retinaface
