#include <algorithm>

#include "common/aligned.h"
#include "ops/cuda/common/launch.cuh"
#include "ops/cuda/common/workspace.h"
#include "ops/cuda/deform_conv/kernel.cuh"
#include "ops/cuda/deform_conv/prepare.cuh"
#include "ops/deform_conv.h"
#ifdef RETINAFACE_WGMMA
#include "ops/cuda/deform_conv/weight_map.h"
#endif

// Two launches: rearrange weights and x, then gather and multiply.

namespace retinaface {
namespace {

DeformConvWorkspace carve(const DeformConvParams &params, Workspace &workspace) {
    const DeformConvPlan plan = make_deform_conv_plan(params);
    DeformConvWorkspace arrays;
    arrays.weights = workspace.take<unsigned char>(static_cast<size_t>(plan.steps) * params.groups * plan.weight_rows *
                                                   kDeformRowBytes);
    const size_t x_bytes = static_cast<size_t>(plan.x_units) * params.batch * kDeformUnitBytes;
    arrays.x = workspace.take<unsigned char>(plan.copies_x ? x_bytes : 0);
    arrays.partials = workspace.take<float4>(kDeformPartialBytes / sizeof(float4));
    arrays.tickets = workspace.take<uint32_t>(kDeformMaxTickets);
    return arrays;
}

cudaError_t query(DeformConvDevice &device) {
    int id = 0;
    cudaError_t status = cudaGetDevice(&id);
    if (status == cudaSuccess) {
        status = cudaDeviceGetAttribute(&device.multiprocessors, cudaDevAttrMultiProcessorCount, id);
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
    DeformConvWorkspace workspace;
    cudaStream_t stream;
    DeformConvDevice device;
    DeformConvPlan plan;
};

template <typename T, int kCoTile>
cudaError_t convolve(const Call &call) {
    const DeformConvParams &p = call.params;
    const DeformConvPlan &plan = call.plan;
    DeformConvArgs<T> args = {p,
                              plan,
                              call.workspace,
                              static_cast<const T *>(call.inputs.x),
                              static_cast<const T *>(call.inputs.weight),
                              static_cast<const T *>(call.inputs.offset),
                              static_cast<const T *>(call.inputs.bias),
                              static_cast<const T *>(call.inputs.mask),
                              static_cast<T *>(call.y)};
    const int64_t tiles = int64_t{plan.tiles} * p.batch;
    const int64_t co_tiles = int64_t{plan.co_tiles} * p.groups;
    const int64_t units = weight_units(p, plan);
    const int64_t prepare_blocks =
        (units + kPrepareThreads - 1) / kPrepareThreads + (plan.copies_x ? x_squares(p, plan) : 0);
    if (tiles * plan.splits > INT32_MAX || co_tiles > 65535 || units > INT32_MAX || prepare_blocks > INT32_MAX ||
        plan.x_units > UINT32_MAX) {
        return cudaErrorInvalidConfiguration;
    }
    const int64_t tickets = plan.splits > 1 ? tiles * co_tiles : 0;
    cudaError_t status =
        launch(prepare_deform_conv_kernel<T, kCoTile>, static_cast<unsigned>(prepare_blocks), kPrepareThreads, 0,
               call.stream, args, static_cast<unsigned>(units), static_cast<unsigned>(tickets));
    if (status != cudaSuccess) {
        return status;
    }
#ifdef RETINAFACE_WGMMA
    status = encode_weight_map(plan, p.groups, call.workspace.weights, args.weight_map);
    if (status != cudaSuccess) {
        return status;
    }
#endif
    // The maximum, not what this call needs: another thread may launch between these two calls.
    status = cudaFuncSetAttribute(deform_conv_kernel<T, kCoTile>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  call.device.shared_limit);
    if (status != cudaSuccess) {
        return status;
    }
    return launch(deform_conv_kernel<T, kCoTile>,
                  dim3(static_cast<unsigned>(tiles * plan.splits), static_cast<unsigned>(co_tiles)), kDeformThreads,
                  deform_conv_shared_bytes(kCoTile, plan.taps_per_pass), call.stream, args);
}

template <typename T>
cudaError_t convolve(const Call &call) {
    switch (call.plan.co_tile) {
        case 256:
            return convolve<T, 256>(call);
        case 128:
            return convolve<T, 128>(call);
        default:
            return convolve<T, 64>(call);
    }
}

}  // namespace

size_t deform_conv_workspace_bytes(const DeformConvParams &params) {
    return workspace_bytes_of(params, carve);
}

cudaError_t deform_conv_cuda(const DeformConvParams &params, const DeformConvInputs &inputs, void *y, void *workspace,
                             size_t workspace_bytes, cudaStream_t stream) {
    if (params.batch == 0) {
        return cudaSuccess;
    }
    DeformConvWorkspace arrays;
    cudaError_t status = open_workspace(params, carve, workspace, workspace_bytes, arrays);
    if (status != cudaSuccess) {
        return status;
    }
    if (!is_aligned(y, sizeof(uint4)) || (params.layout == Layout::kHwc8 && !is_aligned(inputs.x, sizeof(uint4)))) {
        return cudaErrorMisalignedAddress;
    }
    Call call = {params, inputs, y, arrays, stream, {}, make_deform_conv_plan(params)};
    status = query(call.device);
    if (status != cudaSuccess) {
        return status;
    }
    divide_among_blocks(params, call.device, call.plan);
    return dispatch(params.dtype, [&](auto *type) { return convolve<std::remove_pointer_t<decltype(type)>>(call); });
}

}  // namespace retinaface
