#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <cstdint>
#include <utility>

namespace retinaface {

// Programmatic dependent launch, of compute capability 9.0 and later: the kernels of an operator form a chain, of which
// each may start before the one before it has ended. That saves most of the time between them. On other devices they
// are plain launches. The first of a chain always is: what is before it in the stream is not ours.

/// Waits until the kernel before this one has ended, which may still use what this one reads or writes. Called before
/// the first access to global memory by all threads but those of blocks that end at once. The next kernel of the chain
/// waits for this one only, so it relies on this wait for all that are before.
__device__ __forceinline__ void wait_for_kernel_before() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    cudaGridDependencySynchronize();
#endif
}

/// Lets the next kernel of the chain start when all blocks have begun, on what they leave free; it then waits.
__device__ __forceinline__ void let_next_kernel_start() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    cudaTriggerProgrammaticLaunchCompletion();
#endif
}

/// Whether the current device runs code that waits. A device of compute capability 9.0 may run older code, which was
/// compiled for it at the first use and does not. All kernels are compiled for the same architectures, so that one
/// tells for all; each library asks for its own, hence the internal linkage.
static bool kernels_wait(const void *kernel) {
    enum Answer : int8_t { kUnknown, kNo, kYes };
    constexpr int kDevices = 64;
    static std::atomic<int8_t> answers[kDevices];
    int device = 0;
    if (cudaGetDevice(&device) != cudaSuccess || device >= kDevices) {
        return false;
    }
    int8_t answer = answers[device].load(std::memory_order_relaxed);
    if (answer == kUnknown) {
        cudaFuncAttributes attributes;
        if (cudaFuncGetAttributes(&attributes, kernel) != cudaSuccess) {
            return false;  // nor can it be launched
        }
        answer = attributes.ptxVersion >= 90 ? kYes : kNo;
        answers[device].store(answer, std::memory_order_relaxed);
    }
    return answer == kYes;
}

/// Launches a kernel that calls wait_for_kernel_before(), directly behind another kernel of ours, and returns the
/// status of this launch.
template <typename... Parameters>
cudaError_t launch_dependent(void (*kernel)(Parameters...), dim3 grid, dim3 block, cudaStream_t stream,
                             std::decay_t<Parameters>... arguments) {
    const void *function = reinterpret_cast<const void *>(kernel);
    void *pointers[] = {const_cast<void *>(static_cast<const void *>(&arguments))...};
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = kernels_wait(function) ? 1 : 0;
    return cudaLaunchKernelExC(&config, function, pointers);
}

}  // namespace retinaface
