#include <cstdio>

#include "runtime/errors.h"
#include "runtime/settings.h"
#include "statistics/statistics.h"

// Properties of the one emulated device; most are made up.

using namespace cuda_emulator;
using namespace cuda_emulator::runtime;

namespace {

constexpr int kCudaVersion = 13000;

}  // namespace

cudaError_t cudaGetDevice(int *device) {
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
    return device ? fail(cudaErrorInvalidDevice) : cudaSuccess;
}

cudaError_t cudaInitDevice(int device, unsigned, unsigned) {
    return cudaSetDevice(device);
}

cudaError_t cudaGetDeviceCount(int *count) {
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaSetDeviceFlags(unsigned) {
    return cudaSuccess;
}

cudaError_t cudaGetDeviceFlags(unsigned *flags) {
    *flags = 0;
    return cudaSuccess;
}

cudaError_t cudaDeviceReset() {
    statistics::report();
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version) {
    *version = kCudaVersion;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = kCudaVersion;
    return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int *can, int, int) {
    *can = 0;
    return cudaSuccess;
}

cudaError_t cudaDeviceSetCacheConfig(cudaFuncCache) {
    return cudaSuccess;
}

cudaError_t cudaDeviceSetLimit(cudaLimit, size_t) {
    return cudaSuccess;
}

cudaError_t cudaDeviceGetLimit(size_t *value, cudaLimit) {
    *value = 0;
    return cudaSuccess;
}

// Its header is not in PyPI's package of the CUDA runtime.
extern "C" cudaError_t cudaProfilerStart() {
    return cudaSuccess;
}

extern "C" cudaError_t cudaProfilerStop() {
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *text, int size, int) {
    std::snprintf(text, size, "0000:00:00.0");
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int) {
    const auto give = [&](int given) {
        *value = given;
        return cudaSuccess;
    };
    switch (attribute) {
        case cudaDevAttrMaxThreadsPerBlock:
        case cudaDevAttrMaxBlockDimX:
        case cudaDevAttrMaxBlockDimY:
            return give(kThreadsPerBlock);
        case cudaDevAttrMaxBlockDimZ:
            return give(kBlockDepth);
        case cudaDevAttrMaxGridDimX:
            return give(kGridWidth);
        case cudaDevAttrMaxGridDimY:
        case cudaDevAttrMaxGridDimZ:
            return give(kGridHeight);
        case cudaDevAttrMaxSharedMemoryPerBlock:
            return give(kSharedBytes);
        case cudaDevAttrMaxSharedMemoryPerBlockOptin:
            return give(largest_shared_bytes());
        case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
            return give(largest_shared_bytes() + kReservedSharedBytes);
        case cudaDevAttrReservedSharedMemoryPerBlock:
            return give(kReservedSharedBytes);
        case cudaDevAttrTotalConstantMemory:
            return give(kConstantBytes);
        case cudaDevAttrWarpSize:
            return give(32);
        case cudaDevAttrMultiProcessorCount:
            return give(multiprocessors());
        case cudaDevAttrMaxRegistersPerBlock:
        case cudaDevAttrMaxRegistersPerMultiprocessor:
            return give(kRegisters);
        case cudaDevAttrComputeCapabilityMajor:
            return give(compute_capability() / 10);
        case cudaDevAttrComputeCapabilityMinor:
            return give(compute_capability() % 10);
        case cudaDevAttrMaxThreadsPerMultiProcessor:
            return give(kThreadsPerMultiprocessor);
        case cudaDevAttrMaxBlocksPerMultiprocessor:
            return give(kBlocksPerMultiprocessor);
        case cudaDevAttrClockRate:
            return give(2000000);
        case cudaDevAttrMemoryClockRate:
            return give(9000000);
        case cudaDevAttrGlobalMemoryBusWidth:
            return give(kMemoryBusBits);
        case cudaDevAttrL2CacheSize:
            return give(kL2Bytes);
        case cudaDevAttrMaxPitch:
            return give(kLargestPitch);
        case cudaDevAttrTextureAlignment:
            return give(kTextureAlignment);
        case cudaDevAttrUnifiedAddressing:
        case cudaDevAttrConcurrentKernels:
        case cudaDevAttrManagedMemory:
        case cudaDevAttrCanMapHostMemory:
        case cudaDevAttrMemoryPoolsSupported:
        case cudaDevAttrStreamPrioritiesSupported:
        case cudaDevAttrHostRegisterSupported:
        case cudaDevAttrCooperativeLaunch:
            return give(1);
        default:
            return give(0);
    }
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device) {
    if (device) {
        return fail(cudaErrorInvalidDevice);
    }
    const int capability = compute_capability();
    cudaDeviceProp &p = *properties = {};
    std::snprintf(p.name, sizeof(p.name), "CUDA emulator (sm_%d-like, CPU)", capability);
    p.major = capability / 10;
    p.minor = capability % 10;
    p.totalGlobalMem = device_memory_bytes();
    p.totalConstMem = kConstantBytes;
    p.sharedMemPerBlock = kSharedBytes;
    p.sharedMemPerBlockOptin = largest_shared_bytes();
    p.sharedMemPerMultiprocessor = largest_shared_bytes() + kReservedSharedBytes;
    p.reservedSharedMemPerBlock = kReservedSharedBytes;
    p.regsPerBlock = p.regsPerMultiprocessor = kRegisters;
    p.warpSize = 32;
    p.maxThreadsPerBlock = p.maxThreadsDim[0] = p.maxThreadsDim[1] = kThreadsPerBlock;
    p.maxThreadsDim[2] = kBlockDepth;
    p.maxGridSize[0] = kGridWidth;
    p.maxGridSize[1] = p.maxGridSize[2] = kGridHeight;
    p.multiProcessorCount = multiprocessors();
    p.maxThreadsPerMultiProcessor = kThreadsPerMultiprocessor;
    p.maxBlocksPerMultiProcessor = kBlocksPerMultiprocessor;
    p.memoryBusWidth = kMemoryBusBits;
    p.l2CacheSize = kL2Bytes;
    p.textureAlignment = kTextureAlignment;
    p.memPitch = kLargestPitch;
    p.unifiedAddressing = p.concurrentKernels = p.managedMemory = p.canMapHostMemory = 1;
    p.memoryPoolsSupported = p.streamPrioritiesSupported = 1;
    p.asyncEngineCount = 2;
    return cudaSuccess;
}
