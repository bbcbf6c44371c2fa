// Textbook decoding, for comparison with the project's kernel. A thread per anchor reads all 16 values of
// its anchor, then tests the score. An atomic counter per image gives the position in the output, so the
// results have no order, and there is no limit on their number: top-K selection would be a further step. One
// launch per level.

#include <cuda_runtime.h>

#include "math/decode.h"

namespace {

using namespace retinaface;

struct Level {
    const float *logits, *box_deltas, *landmark_deltas;
    int num_cells, width, stride, num_anchors, first_anchor;
    float anchor_sizes[8];
};

__global__ void decode_everything_kernel(Level level, float score_threshold, float centre_variance, float size_variance,
                                         int capacity, int *count, int *indices, float *scores, float *boxes,
                                         float *landmarks) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= level.num_cells * level.num_anchors) {
        return;
    }
    const int image = static_cast<int>(blockIdx.y);
    const int a = i / level.num_cells, cell = i % level.num_cells;  // neighbouring threads read neighbouring cells
    const int first_plane = image * level.num_anchors + a;
    float logits[2], deltas[4], points[10];
    for (int c = 0; c < 2; ++c) {
        logits[c] = level.logits[(first_plane * 2 + c) * level.num_cells + cell];
    }
    for (int c = 0; c < 4; ++c) {
        deltas[c] = level.box_deltas[(first_plane * 4 + c) * level.num_cells + cell];
    }
    for (int c = 0; c < 10; ++c) {
        points[c] = level.landmark_deltas[(first_plane * 10 + c) * level.num_cells + cell];
    }
    const float score = face_score(logits[1] - logits[0]);
    if (score <= score_threshold) {
        return;
    }
    const float side = level.anchor_sizes[a];
    const Anchor anchor = anchor_at(cell / level.width, cell % level.width, level.stride, side, side);
    const Box box = box_of(move_anchor(anchor, deltas, centre_variance, size_variance));
    const int place = image * capacity + atomicAdd(&count[image], 1);
    indices[place] = level.first_anchor + cell * level.num_anchors + a;
    scores[place] = score;
    reinterpret_cast<float4 *>(boxes)[place] = make_float4(box.x1, box.y1, box.x2, box.y2);
    for (int c = 0; c < 10; ++c) {
        landmarks[place * 10 + c] = decode_landmark(anchor, c, points[c], centre_variance);
    }
}

}  // namespace

/// One level of the pyramid; `shape` is height, width, stride, anchors of a cell, first anchor, images.
extern "C" __attribute__((visibility("default"))) int textbook_decode(const float *logits, const float *box_deltas,
                                                                      const float *landmark_deltas, const int *shape,
                                                                      const float *anchor_sizes, float score_threshold,
                                                                      int capacity, int *count, int *indices,
                                                                      float *scores, float *boxes, float *landmarks) {
    Level level = {logits,   box_deltas, landmark_deltas, shape[0] * shape[1], shape[1], shape[2], shape[3],
                   shape[4], {}};
    for (int i = 0; i < shape[3]; ++i) {
        level.anchor_sizes[i] = anchor_sizes[i];
    }
    constexpr int kThreads = 256;
    const int blocks = (level.num_cells * level.num_anchors + kThreads - 1) / kThreads;
    decode_everything_kernel<<<dim3(blocks, shape[5]), kThreads>>>(level, score_threshold, 0.1f, 0.2f, capacity, count,
                                                                   indices, scores, boxes, landmarks);
    return cudaGetLastError();
}
