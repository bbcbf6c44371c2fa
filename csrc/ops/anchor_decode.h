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
constexpr int kMaxAnchorsPerImage = 1 << 22;     // 4096 x 4096 pixels at three anchors per cell from stride 4 on
constexpr int kMaxCandidatesPerImage = 1 << 22;  // pairs of an anchor and a class
constexpr int kMaxTopK = 5000;
constexpr int kMaxClasses = 256;
constexpr int kMaxValueHeads = 8;

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

/// Decoding of raw heads into candidates. docs/development/heads.md explains classes and payload.
struct AnchorDecodeParams {
    int batch = 0;
    int num_levels = 0;
    AnchorLevel levels[kMaxLevels];
    float centre_variance = 0.1f;
    float size_variance = 0.2f;
    float score_threshold = 0.5f;
    int top_k = kMaxTopK;
    int num_classes = 2;               // C, with the background
    bool sigmoid = false;              // each class has a score of its own; else softmax
    int num_points = kLandmarkPoints;  // L; 0 without landmark heads
    int num_value_heads = 0;
    int value_sizes[kMaxValueHeads] = {};    // values of an anchor, of each such head
    bool value_points[kMaxValueHeads] = {};  // whether a head's values are deltas of points, as landmark deltas are
    bool cascade = false;                    // all other deltas refer to the anchors as moved by anchor_deltas
    DType dtype = DType::kFloat32;           // of the heads; results are float32
};

/// Channels per anchor of the logits: C, or C - 1 with sigmoid, where the background has none.
int logits_per_anchor(const AnchorDecodeParams &params);

/// P, the values of a candidate behind its box: x and y of its points, then those of the value heads.
int payload_size(const AnchorDecodeParams &params);

/// Raw heads per level, NCHW and contiguous, as the convolutions return them. A channel is anchor x components +
/// component: logits [N, C A, h, w], class 0 is the background (with sigmoid [N, (C - 1) A, h, w], without it),
/// box_deltas [N, 4 A, h, w], landmark_deltas [N, 2 L A, h, w]; in a cascade also anchor_deltas [N, 4 A, h, w], the
/// first stage's box deltas, whose boxes are the anchors of the other heads; values, of each such head [N, its size x
/// A, h, w].
struct AnchorDecodeInputs {
    const void *logits[kMaxLevels] = {};
    const void *box_deltas[kMaxLevels] = {};
    const void *landmark_deltas[kMaxLevels] = {};
    const void *anchor_deltas[kMaxLevels] = {};
    const void *values[kMaxValueHeads][kMaxLevels] = {};
};

/// boxes [N, K, 4] x1 y1 x2 y2 in pixels of the network's input, scores [N, K], payload [N, K, P] (null if P is 0): the
/// points x y in pixels, then the values of each head, points x y in pixels or numbers as they are, count [N], classes
/// [N, K] (null if C is 2): 1 to C - 1. Entries from count on are zero.
///
/// A candidate is an anchor with a class whose score is above the threshold. The result has the K best, ordered by
/// score (descending), then by anchor index, then by class. The anchor index counts levels, then rows, columns and
/// anchors of a cell. The threshold t is applied to the margin, the logit of the score: margin > log(t / (1 - t)). It
/// is the class's logit with sigmoid, else that of softmax_margin. A margin that is not finite makes no candidate. One
/// of the K best whose box or payload is not finite is left out and not replaced.
struct AnchorDecodeOutputs {
    float *boxes = nullptr;
    float *scores = nullptr;
    float *payload = nullptr;
    int32_t *count = nullptr;
    int32_t *classes = nullptr;
};

/// Throws InvalidArgument if the number of classes is out of range: the shapes of the heads depend on it.
void validate_classes(const AnchorDecodeParams &params);

/// Throws InvalidArgument naming the parameter that is out of range.
void validate_anchor_decode(const AnchorDecodeParams &params);

/// Anchors of one image, over all levels.
int64_t num_anchors_of(const AnchorDecodeParams &params);

/// Candidates of one image, if all passed: its anchors with each class but the background.
int64_t num_candidates_of(const AnchorDecodeParams &params);

/// The margin that corresponds to a score of `score_threshold`; -inf for 0, inf for 1.
float margin_threshold(float score_threshold);

/// Heads must be float32. Uses up to `num_threads` threads (0: one per core).
void anchor_decode_cpu(const AnchorDecodeParams &params, const AnchorDecodeInputs &inputs,
                       const AnchorDecodeOutputs &outputs, int num_threads = 0);

#ifdef RETINAFACE_HAS_CUDA
size_t anchor_decode_workspace_bytes(const AnchorDecodeParams &params);

/// All pointers are device pointers. Boxes and workspace must be aligned to 16 bytes and the payload to 8, as
/// allocations are (else cudaErrorMisalignedAddress). Does not allocate or synchronise and can be captured in a graph.
/// cudaErrorInvalidValue if the workspace is smaller than anchor_decode_workspace_bytes.
cudaError_t anchor_decode_cuda(const AnchorDecodeParams &params, const AnchorDecodeInputs &inputs,
                               const AnchorDecodeOutputs &outputs, void *workspace, size_t workspace_bytes,
                               cudaStream_t stream);
#endif

}  // namespace retinaface
