#include <algorithm>

#include "common/aligned.h"
#include "ops/cuda/common/launch.cuh"
#include "ops/cuda/deform_conv/fma.cuh"
#include "ops/cuda/deform_conv/mma.cuh"
#include "ops/deform_conv.h"

namespace retinaface {
namespace {

struct Device {
    int multiprocessors = 0;
    int major = 0;
    int shared_limit = 0;
};

cudaError_t query(Device &device) {
    int id = 0;
    cudaError_t status = cudaGetDevice(&id);
    if (status == cudaSuccess) {
        status = cudaDeviceGetAttribute(&device.multiprocessors, cudaDevAttrMultiProcessorCount, id);
    }
    if (status == cudaSuccess) {
        status = cudaDeviceGetAttribute(&device.major, cudaDevAttrComputeCapabilityMajor, id);
    }
    if (status == cudaSuccess) {
        status = cudaDeviceGetAttribute(&device.shared_limit, cudaDevAttrMaxSharedMemoryPerBlockOptin, id);
    }
    return status;
}

struct Call {
    const DeformConvParams &params;
    const DeformConvInputs &inputs;
    void *y;
    cudaStream_t stream;
    Device device;
};

template <typename Multiplier>
cudaError_t convolve(const Call &call) {
    using T = typename Multiplier::Element;
    const DeformConvParams &p = call.params;
    DeformConvArgs<T> args = {
        p,
        make_deform_conv_plan(p, Multiplier::footprint(deform_conv_taps_per_pass(p)), call.device.shared_limit),
        static_cast<const T *>(call.inputs.x),
        static_cast<const T *>(call.inputs.weight),
        static_cast<const T *>(call.inputs.offset),
        static_cast<const T *>(call.inputs.bias),
        static_cast<const T *>(call.inputs.mask),
        static_cast<T *>(call.y)};
    int64_t tiles = static_cast<int64_t>(args.plan.tiles_x) * args.plan.tiles_y * p.batch;
    int64_t co_tiles =
        static_cast<int64_t>((p.out_channels / p.groups + Multiplier::kCoTile - 1) / Multiplier::kCoTile) * p.groups;
    if (tiles > INT32_MAX || co_tiles > 65535) {
        return cudaErrorInvalidConfiguration;
    }
    // The maximum, not what this call needs: another thread may launch between these two calls.
    cudaError_t status = cudaFuncSetAttribute(deform_conv_kernel<Multiplier>,
                                              cudaFuncAttributeMaxDynamicSharedMemorySize, call.device.shared_limit);
    if (status != cudaSuccess) {
        return status;
    }
    return launch(deform_conv_kernel<Multiplier>, dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(co_tiles)),
                  kDeformThreads, args.plan.shared_bytes, call.stream, args);
}

/// Output channels per block. With more channels per block less is gathered in total; with fewer there are more blocks,
/// which a small map needs to fill the device. Gathering costs about as much as kGatherCost output channels.
int choose_co_tile(const Call &call) {
    constexpr int64_t kGatherCost = 64;
    const DeformConvParams &p = call.params;
    int64_t pixels = static_cast<int64_t>(deform_conv_out_height(p)) * deform_conv_out_width(p) * p.batch;
    int64_t tiles = (pixels + kDeformTilePixels - 1) / kDeformTilePixels * p.groups;
    int64_t best_cost = INT64_MAX;
    int best = 0;
    for (int co_tile : {256, 128, 64}) {
        int64_t blocks = tiles * ((p.out_channels / p.groups + co_tile - 1) / co_tile);
        int64_t waves = (blocks + call.device.multiprocessors - 1) / call.device.multiprocessors;
        int64_t cost = waves * (kGatherCost + co_tile);
        if (cost < best_cost) {
            best_cost = cost;
            best = co_tile;
        }
    }
    return best;
}

/// Whether an instance for 3x3 kernels can run: whole steps of channels and a multiple of 8 output channels, so that
/// weights can be loaded four at a time.
template <typename Multiplier>
bool is_regular(const DeformConvParams &p) {
    return p.kernel_h == 3 && p.kernel_w == 3 && p.in_channels / p.groups % Multiplier::kChannels == 0 &&
           p.in_channels / p.offset_groups % Multiplier::kChannels == 0 && p.out_channels / p.groups % 8 == 0;
}

template <typename T>
cudaError_t launch_mma(const Call &call) {
    if (!is_regular<DeformMma<T, 9, 1>>(call.params)) {
        return convolve<DeformMma<T, 0, 2>>(call);
    }
    switch (choose_co_tile(call)) {
        case 256:
            return convolve<DeformMma<T, 9, 1>>(call);
        case 128:
            return convolve<DeformMma<T, 9, 2>>(call);
        default:
            return convolve<DeformMma<T, 9, 4>>(call);
    }
}

cudaError_t launch_float32(const Call &call) {
    if (!is_regular<DeformFma<float, 9, 8>>(call.params)) {
        return convolve<DeformFma<float, 0, 4>>(call);
    }
    switch (choose_co_tile(call)) {
        case 256:
            return convolve<DeformFma<float, 9, 8>>(call);
        case 128:
            return convolve<DeformFma<float, 9, 4>>(call);
        default:
            return convolve<DeformFma<float, 9, 2>>(call);
    }
}

}  // namespace

cudaError_t deform_conv_cuda(const DeformConvParams &params, const DeformConvInputs &inputs, void *y,
                             cudaStream_t stream) {
    if (params.batch == 0) {
        return cudaSuccess;
    }
    for (const void *pointer : {inputs.x, inputs.weight, static_cast<const void *>(y)}) {
        if (!is_aligned(pointer, sizeof(uint4))) {
            return cudaErrorMisalignedAddress;
        }
    }
    Call call = {params, inputs, y, stream, {}};
    cudaError_t status = query(call.device);
    if (status != cudaSuccess) {
        return status;
    }
    switch (params.dtype) {
        case DType::kFloat16:
            return launch_mma<__half>(call);
        case DType::kBFloat16:
            return call.device.major >= 8 ? launch_mma<__nv_bfloat16>(call)
                                          : convolve<DeformFma<__nv_bfloat16, 0, 4>>(call);
        case DType::kFloat32:
            break;
    }
    return launch_float32(call);
}

}  // namespace retinaface
