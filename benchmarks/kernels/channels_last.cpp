// The deformable convolution in channels-last layout, so that the emulator can count it: the plugin supports
// this layout, engine.ops does not.

#include <cuda_runtime_api.h>

#include "ops/deform_conv.h"

/// FP16, 3x3, stride 1, padding 1; `shape` is images, input channels, output channels, height, width.
extern "C" __attribute__((visibility("default"))) int deform_conv_channels_last(const void *x, const void *weight,
                                                                                const void *offset, const void *bias,
                                                                                const void *mask, void *y,
                                                                                const int *shape) {
    retinaface::DeformConvParams params;
    params.batch = shape[0];
    params.in_channels = shape[1];
    params.out_channels = shape[2];
    params.height = shape[3];
    params.width = shape[4];
    params.pad_top = params.pad_left = params.pad_bottom = params.pad_right = 1;
    params.dtype = retinaface::DType::kFloat16;
    params.layout = retinaface::Layout::kHwc8;
    retinaface::DeformConvInputs inputs;
    inputs.x = x;
    inputs.weight = weight;
    inputs.offset = offset;
    inputs.bias = bias;
    inputs.mask = mask;
    const size_t bytes = retinaface::deform_conv_workspace_bytes(params);
    void *workspace = nullptr;
    cudaError_t status = cudaMalloc(&workspace, bytes);
    if (status == cudaSuccess) {
        status = retinaface::deform_conv_cuda(params, inputs, y, workspace, bytes, nullptr);
        cudaFree(workspace);
    }
    return status;
}
