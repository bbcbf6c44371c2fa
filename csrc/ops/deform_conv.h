#pragma once

#include <cstddef>
#include <cstdint>

#include "common/dtype.h"

#ifdef RETINAFACE_HAS_CUDA
#include <cuda_runtime_api.h>
#endif

namespace retinaface {

constexpr int kMaxDeformKernelSide = 7;
constexpr int kMaxDeformSize = 1 << 24;  // of sides, channels and paddings: positions stay exact in float32
constexpr int kMaxDeformStep = 1 << 12;  // of strides and dilations
constexpr int kMaxDeformGroups = 65535;

/// The layout of x and y: NCHW, or NHWC with the channels padded to a multiple of 8.
enum class Layout { kLinear, kHwc8 };

/// The standard ONNX operator DeformConv (opset 19 and 22) in two dimensions.
struct DeformConvParams {
    int batch = 0;
    int in_channels = 0;
    int height = 0;
    int width = 0;
    int out_channels = 0;
    int kernel_h = 3;
    int kernel_w = 3;
    int stride_h = 1;
    int stride_w = 1;
    int pad_top = 0;
    int pad_left = 0;
    int pad_bottom = 0;
    int pad_right = 0;
    int dilation_h = 1;
    int dilation_w = 1;
    int groups = 1;
    int offset_groups = 1;
    DType dtype = DType::kFloat32;    // of every tensor
    Layout layout = Layout::kLinear;  // of x and y; kHwc8 for the 16-bit types only
};

/// x [N, Ci, H, W], weight [Co, Ci / groups, kh, kw], offset [N, 2 * offset_groups * kh * kw, h, w], bias
/// [Co] or null, mask [N, offset_groups * kh * kw, h, w] or null. Offsets are in pixels, (dy, dx) for each
/// tap of each offset group. Only x and y follow `layout`.
struct DeformConvInputs {
    const void *x = nullptr;
    const void *weight = nullptr;
    const void *offset = nullptr;
    const void *bias = nullptr;
    const void *mask = nullptr;
};

/// Rows and columns of the output.
int deform_conv_out_height(const DeformConvParams &params);
int deform_conv_out_width(const DeformConvParams &params);

/// Throws InvalidArgument naming the parameter that is out of range.
void validate_deform_conv(const DeformConvParams &params);

/// y [N, Co, h, w] = bias + sum over channels and taps of weight * mask * x(position of the tap + offset).
/// x is sampled bilinearly and is zero outside its map; a position that is not finite counts as outside.
/// A pixel that no sample needs is not read, so infinities and NaN there do no harm. Where one is read, outputs that
/// depend on it may be NaN.
///
/// Tensors must be float32 in kLinear. Uses up to `num_threads` threads (0: one per core).
void deform_conv_cpu(const DeformConvParams &params, const DeformConvInputs &inputs, void *y, int num_threads = 0);

#ifdef RETINAFACE_HAS_CUDA
/// Bytes of device memory that deform_conv_cuda needs: the weights in the order in which they are multiplied (at least
/// 8 KiB for each group, tap and 128 bytes of input channels), a channels-last copy of x unless it is channels-last,
/// and 8 MiB for partial sums. Never less for a larger shape.
size_t deform_conv_workspace_bytes(const DeformConvParams &params);

/// As deform_conv_cpu, on the device. All pointers are device pointers; y, the workspace and x in kHwc8 must be aligned
/// to 16 bytes, as allocations are (else cudaErrorMisalignedAddress). Does not allocate or synchronise and can be
/// captured in a graph. Returns cudaErrorInvalidValue if the workspace is smaller than deform_conv_workspace_bytes.
///
/// Positions, interpolation and sums are float32 for every dtype. For the 16-bit types each sample is rounded to the
/// type once, before the multiplication; float32 products are sums of three TF32 products, which keep 22 bits of each
/// factor (float32 itself on Turing). The same call gives the same bits every time; a call of another batch size may
/// add in another order.
cudaError_t deform_conv_cuda(const DeformConvParams &params, const DeformConvInputs &inputs, void *y, void *workspace,
                             size_t workspace_bytes, cudaStream_t stream);
#endif

}  // namespace retinaface
