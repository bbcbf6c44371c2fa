#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include "ops/cuda/deform_conv/plan.h"

namespace retinaface {

/// The driver's function that describes a tensor to TMA, or null if the driver is too old. Nothing here is linked to
/// the driver, so it is looked up, once a process.
inline decltype(&cuTensorMapEncodeTiled) tensor_map_encoder() {
    static const auto function = [] {
        void *found = nullptr;
        cudaDriverEntryPointQueryResult result;
        const cudaError_t status =
            cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result);
        const bool usable = status == cudaSuccess && result == cudaDriverEntryPointSuccess;
        return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(usable ? found : nullptr);
    }();
    return function;
}

/// Describes the packed weights to TMA, if the current device runs code that uses it: a matrix of bytes with the rows
/// [group][step][output channel], of which TMA copies boxes of `plan.co_tile` rows and swizzles them.
inline cudaError_t encode_weight_map(const DeformConvPlan &plan, int groups, void *weights, CUtensorMap &map) {
    int device = 0, major = 0;
    cudaError_t status = cudaGetDevice(&device);
    if (status == cudaSuccess) {
        status = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    }
    if (status != cudaSuccess || major != 9) {
        return status;
    }
    const auto encode = tensor_map_encoder();
    if (encode == nullptr) {
        return cudaErrorCallRequiresNewerDriver;
    }
    const auto row_bytes = cuuint64_t{kDeformRowBytes};
    const cuuint64_t size[] = {row_bytes, cuuint64_t{1} * groups * plan.steps * plan.weight_rows};
    const cuuint32_t box[] = {kDeformRowBytes, static_cast<cuuint32_t>(plan.co_tile)};
    const cuuint32_t every[] = {1, 1};
    const CUresult result = encode(&map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 2, weights, size, &row_bytes, box, every,
                                   CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                   CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace retinaface
