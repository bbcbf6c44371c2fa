// The launchers of csrc/ops as plain C functions, for the tests. launchers.py mirrors the structures. Memory, streams
// and graphs come from tests/csrc/plugins/driver.cpp, in the same library. Statuses are cudaError_t.
#include "ops/align.h"
#include "ops/anchor_decode.h"
#include "ops/batched_nms.h"
#include "ops/cuda/deform_conv/plan.h"
#include "ops/deform_conv.h"
#include "ops/letterbox.h"

#define RF_EXPORT extern "C" __attribute__((visibility("default")))

using namespace retinaface;

/// Sizes of the structures, in the order of STRUCTURES in launchers.py, to detect a mirror that is out of date.
RF_EXPORT const size_t *driver_structure_sizes() {
    static const size_t sizes[] = {
        sizeof(AnchorDecodeParams),   sizeof(AnchorDecodeInputs), sizeof(AnchorDecodeOutputs),
        sizeof(BatchedNmsParams),     sizeof(BatchedNmsInputs),   sizeof(BatchedNmsOutputs),
        sizeof(LetterboxParams),      sizeof(ImageView),          sizeof(UnletterboxParams),
        sizeof(UnletterboxPlacement), sizeof(UnletterboxInputs),  sizeof(UnletterboxOutputs),
        sizeof(DeformConvParams),     sizeof(DeformConvInputs),   sizeof(AlignParams),
        sizeof(AlignInputs),          sizeof(AlignOutputs),
    };
    return sizes;
}

RF_EXPORT size_t driver_decode_workspace(const AnchorDecodeParams *params) {
    return anchor_decode_workspace_bytes(*params);
}
RF_EXPORT int32_t driver_decode(const AnchorDecodeParams *params, const AnchorDecodeInputs *inputs,
                                const AnchorDecodeOutputs *outputs, void *workspace, size_t bytes,
                                cudaStream_t stream) {
    return anchor_decode_cuda(*params, *inputs, *outputs, workspace, bytes, stream);
}
RF_EXPORT size_t driver_nms_workspace(const BatchedNmsParams *params) {
    return batched_nms_workspace_bytes(*params);
}
RF_EXPORT int32_t driver_nms(const BatchedNmsParams *params, const BatchedNmsInputs *inputs,
                             const BatchedNmsOutputs *outputs, void *workspace, size_t bytes, cudaStream_t stream) {
    return batched_nms_cuda(*params, *inputs, *outputs, workspace, bytes, stream);
}
RF_EXPORT int32_t driver_letterbox(const LetterboxParams *params, const ImageView *images, void *output,
                                   float *transforms, cudaStream_t stream) {
    return letterbox_cuda(*params, images, output, transforms, stream);
}
RF_EXPORT int32_t driver_unletterbox(const UnletterboxParams *params, const UnletterboxPlacement *placements,
                                     const UnletterboxInputs *inputs, const UnletterboxOutputs *outputs,
                                     cudaStream_t stream) {
    return unletterbox_cuda(*params, placements, *inputs, *outputs, stream);
}
RF_EXPORT int32_t driver_align(const AlignParams *params, const ImageView *images, const AlignInputs *inputs,
                               const AlignOutputs *outputs, cudaStream_t stream) {
    return align_cuda(*params, images, *inputs, *outputs, stream);
}
RF_EXPORT size_t driver_deform_conv_workspace(const DeformConvParams *params) {
    return deform_conv_workspace_bytes(*params);
}
RF_EXPORT int32_t driver_deform_conv(const DeformConvParams *params, const DeformConvInputs *inputs, void *y,
                                     void *workspace, size_t bytes, cudaStream_t stream) {
    return deform_conv_cuda(*params, *inputs, y, workspace, bytes, stream);
}
/// How the launcher divides a convolution on the current device: output channels of a block, and blocks that share the
/// steps of a tile.
RF_EXPORT int32_t driver_deform_conv_division(const DeformConvParams *params, int32_t *co_tile, int32_t *splits) {
    DeformConvDevice device;
    int id = 0;
    cudaError_t status = cudaGetDevice(&id);
    if (status == cudaSuccess) {
        status = cudaDeviceGetAttribute(&device.multiprocessors, cudaDevAttrMultiProcessorCount, id);
    }
    if (status == cudaSuccess) {
        status = cudaDeviceGetAttribute(&device.shared_limit, cudaDevAttrMaxSharedMemoryPerBlockOptin, id);
    }
    DeformConvPlan plan = make_deform_conv_plan(*params);
    divide_among_blocks(*params, device, plan);
    *co_tile = plan.co_tile;
    *splits = plan.splits;
    return status;
}
