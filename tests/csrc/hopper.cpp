// What the host computes for Hopper's TMA and wgmma, in front of a CUDA runtime and a driver that only take notes.

#include "ops/cuda/deform_conv/plan.h"
#include "ops/cuda/deform_conv/tile.h"
#include "ops/cuda/deform_conv/weight_map.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

using namespace retinaface;

namespace {

/// What cuTensorMapEncodeTiled was given.
struct Encoded {
    int32_t type, rank, interleave, swizzle;
    uint64_t address, size[2], stride;
    uint32_t box[2], element_strides[2];
};

Encoded encoded;
int capability_major;
CUresult result;

CUresult note(CUtensorMap *, CUtensorMapDataType type, cuuint32_t rank, void *address, const cuuint64_t *size,
              const cuuint64_t *strides, const cuuint32_t *box, const cuuint32_t *element_strides,
              CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion,
              CUtensorMapFloatOOBfill) {
    encoded = {type,
               static_cast<int32_t>(rank),
               interleave,
               swizzle,
               reinterpret_cast<uint64_t>(address),
               {size[0], size[1]},
               strides[0],
               {box[0], box[1]},
               {element_strides[0], element_strides[1]}};
    return result;
}

}  // namespace

// Not exported, or calls would go to a runtime that the process has loaded.
cudaError_t cudaGetDevice(int *device) {
    *device = 0;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr, int) {
    *value = capability_major;
    return cudaSuccess;
}
/// A driver of CUDA 12.0 or, where its result is to be CUDA_ERROR_NOT_FOUND, an older one.
cudaError_t cudaGetDriverEntryPointByVersion(const char *, void **function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult *found) {
    *function = result == CUDA_ERROR_NOT_FOUND ? nullptr : reinterpret_cast<void *>(&note);
    *found = *function == nullptr ? cudaDriverEntryPointSymbolNotFound : cudaDriverEntryPointSuccess;
    return cudaSuccess;
}

EXPORT int32_t hopper_encode(const DeformConvParams *params, int32_t co_tile, uint64_t weights, int32_t major,
                             int32_t answer, Encoded *noted) {
    DeformConvPlan plan = make_deform_conv_plan(*params);
    plan.co_tile = co_tile;
    capability_major = major;
    result = static_cast<CUresult>(answer);
    encoded = {};
    CUtensorMap map;
    const cudaError_t status = encode_weight_map(plan, params->groups, reinterpret_cast<void *>(weights), map);
    *noted = encoded;
    return status;
}
EXPORT void hopper_plan(const DeformConvParams *params, int32_t *steps, int32_t *weight_rows) {
    const DeformConvPlan plan = make_deform_conv_plan(*params);
    *steps = plan.steps;
    *weight_rows = plan.weight_rows;
}
EXPORT uint32_t hopper_weight_row(const DeformConvParams *params, int32_t group, int32_t step, int32_t channel) {
    return weight_row(make_deform_conv_plan(*params), group, step, channel);
}
EXPORT uint32_t hopper_swizzled(int32_t row, int32_t unit) {
    return swizzled(row, unit);
}
EXPORT uint64_t hopper_matrix_descriptor(uint32_t address) {
    return matrix_descriptor(address);
}
EXPORT uint32_t hopper_weight_tile_bytes(int32_t co_tile) {
    return weight_tile_bytes(co_tile);
}
EXPORT int32_t hopper_shared_bytes(int32_t co_tile, int32_t taps) {
    return deform_conv_shared_bytes(co_tile, taps);
}
