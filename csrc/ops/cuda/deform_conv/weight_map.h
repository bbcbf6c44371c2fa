#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include "ops/cuda/deform_conv/plan.h"

namespace retinaface {

/// Describes the packed weights to TMA, if the current device runs code that uses it: a matrix of bytes with the rows
/// [group][step][output channel], of which TMA copies boxes of `plan.co_tile` rows and swizzles them. The function is
/// the driver's, to which nothing here is linked, so it is looked up.
inline cudaError_t encode_weight_map(const DeformConvPlan &plan, int groups, void *weights, CUtensorMap &map) {
    int device = 0, major = 0;
    cudaError_t status = cudaGetDevice(&device);
    if (status == cudaSuccess) {
        status = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    }
    if (status != cudaSuccess || major != 9) {
        return status;
    }
    void *function = nullptr;
    cudaDriverEntryPointQueryResult found;
    status = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
    if (status != cudaSuccess || found != cudaDriverEntryPointSuccess) {
        return status != cudaSuccess ? status : cudaErrorCallRequiresNewerDriver;
    }
    const auto row_bytes = cuuint64_t{kDeformRowBytes};
    const cuuint64_t size[] = {row_bytes, cuuint64_t{1} * groups * plan.steps * plan.weight_rows};
    const cuuint32_t box[] = {kDeformRowBytes, static_cast<cuuint32_t>(plan.co_tile)};
    const cuuint32_t every[] = {1, 1};
    const CUresult result = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function)(
        &map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 2, weights, size, &row_bytes, box, every, CU_TENSOR_MAP_INTERLEAVE_NONE,
        CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace retinaface
