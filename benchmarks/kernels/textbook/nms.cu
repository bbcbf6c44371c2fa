// Textbook greedy NMS, for comparison with the project's kernels. One block goes through the candidates, which
// are sorted by score; for each candidate that is not suppressed, all threads test the candidates after it.

#include <cuda_runtime.h>

#include "math/box.h"

namespace {

using namespace retinaface;

constexpr int kThreads = 1024;
constexpr int kMaxCandidates = 5000;

__global__ void __launch_bounds__(kThreads)
    nms_one_block_kernel(const float4 *boxes, int count, float iou_threshold, int *num_kept, int *kept) {
    __shared__ bool alive[kMaxCandidates];
    const int thread = static_cast<int>(threadIdx.x);
    for (int i = thread; i < count; i += kThreads) {
        alive[i] = true;
    }
    int found = 0;
    for (int best = 0; best < count; ++best) {
        __syncthreads();
        if (!alive[best]) {
            continue;
        }
        const float4 b = boxes[best];
        const Box box = {b.x, b.y, b.z, b.w};
        for (int i = best + 1 + thread; i < count; i += kThreads) {
            const float4 o = boxes[i];
            const Box other = {o.x, o.y, o.z, o.w};
            if (alive[i] && iou(box, area(box), other, area(other)) > iou_threshold) {
                alive[i] = false;
            }
        }
        if (thread == 0) {
            kept[found] = best;
        }
        ++found;
    }
    if (thread == 0) {
        *num_kept = found;
    }
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int textbook_nms(const void *boxes, int count, float iou_threshold,
                                                                   int *num_kept, int *kept) {
    nms_one_block_kernel<<<1, kThreads>>>(static_cast<const float4 *>(boxes), count, iou_threshold, num_kept, kept);
    return cudaGetLastError();
}
