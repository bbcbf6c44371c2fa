#include <algorithm>

#include "runtime/errors.h"
#include "runtime/images.h"

// Attributes of kernels, and occupancy. The number of registers is unknown: ptxas allocates them, after PTX.

using namespace cuda_emulator;
using namespace cuda_emulator::runtime;

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, const void *host_function) {
    Lock lock(runtime::mutex);
    *attributes = {};
    Kernel *kernel = find_kernel(host_function);
    const Function *function = kernel ? kernel->function() : nullptr;
    if (!function) {
        return fail(cudaErrorInvalidDeviceFunction);
    }
    attributes->sharedSizeBytes = function->shared_bytes;
    attributes->localSizeBytes = function->local_bytes;
    attributes->maxThreadsPerBlock = function->max_threads ? static_cast<int>(function->max_threads) : kThreadsPerBlock;
    attributes->numRegs = 32;  // made up
    attributes->ptxVersion = kernel->image->architecture;
    attributes->binaryVersion = compute_capability();
    attributes->maxDynamicSharedSizeBytes = static_cast<int>(kernel->dynamic_shared_limit);
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *host_function, cudaFuncAttribute attribute, int value) {
    Lock lock(runtime::mutex);
    Kernel *kernel = find_kernel(host_function);
    if (!kernel) {
        return fail(cudaErrorInvalidDeviceFunction);
    }
    if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize) {
        const Function *function = kernel->function();
        const u32 static_shared = function ? function->shared_bytes : 0;
        if (value < 0 || static_cast<u32>(value) + static_shared > largest_shared_bytes()) {
            return fail(cudaErrorInvalidValue);
        }
        kernel->dynamic_shared_limit = static_cast<u32>(value);
        kernel->opted_in = true;
    }
    return cudaSuccess;
}

cudaError_t cudaFuncSetCacheConfig(const void *, cudaFuncCache) {
    return cudaSuccess;
}

cudaError_t cudaFuncGetName(const char **name, const void *host_function) {
    Lock lock(runtime::mutex);
    const Kernel *kernel = find_kernel(host_function);
    if (!kernel) {
        return fail(cudaErrorInvalidDeviceFunction);
    }
    *name = kernel->name.c_str();
    return cudaSuccess;
}

/// Computed from threads and shared memory only.
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *host_function, int threads,
                                                                   size_t dynamic_shared, unsigned) {
    cudaFuncAttributes attributes;
    if (const cudaError_t error = cudaFuncGetAttributes(&attributes, host_function)) {
        return error;
    }
    if (threads <= 0) {
        return fail(cudaErrorInvalidValue);
    }
    const int warps = (threads + 31) / 32, by_threads = kThreadsPerMultiprocessor / 32 / warps;
    const size_t shared = attributes.sharedSizeBytes + dynamic_shared + kReservedSharedBytes;
    const int by_shared = static_cast<int>((largest_shared_bytes() + kReservedSharedBytes) / shared);
    const bool too_large = threads > attributes.maxThreadsPerBlock;
    *blocks = too_large ? 0 : std::min({kBlocksPerMultiprocessor, by_threads, by_shared});
    return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *host_function, int threads,
                                                          size_t dynamic_shared) {
    return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, host_function, threads, dynamic_shared, 0);
}

cudaError_t cudaOccupancyAvailableDynamicSMemPerBlock(size_t *bytes, const void *, int blocks, int) {
    *bytes = largest_shared_bytes() / std::max(1, blocks);
    return cudaSuccess;
}
