#include <algorithm>
#include <cstdio>
#include <cstring>

#include "execution/execution.h"
#include "runtime/errors.h"
#include "runtime/images.h"
#include "runtime/settings.h"
#include "runtime/streams.h"

using namespace cuda_emulator;
using namespace cuda_emulator::runtime;

namespace {

struct Launch {
    dim3 grid, block;
    size_t dynamic_shared;
    cudaStream_t stream;
    bool dependent = false;  ///< on the kernel before, as far as it waits for it
};

/// The configuration of kernel<<<...>>>, between the push and pop of the generated code.
thread_local std::vector<Launch> configurations;

cudaError_t error_of(const std::string &message) {
    const auto starts = [&](const char *prefix) { return message.rfind(prefix, 0) == 0; };
    if (starts("device assert")) {
        return cudaErrorAssert;
    }
    if (starts("misaligned")) {
        return cudaErrorMisalignedAddress;
    }
    if (starts("unsupported PTX")) {
        return cudaErrorIllegalInstruction;
    }
    if (starts("trap")) {
        return cudaErrorLaunchFailure;
    }
    if (starts("deadlock") || message.find("ran over") != std::string::npos) {
        return cudaErrorLaunchTimeout;
    }
    return cudaErrorIllegalAddress;
}

cudaError_t run(const Kernel &kernel, const Launch &launch, const std::vector<u8> &parameters) {
    const u32 grid[3] = {launch.grid.x, launch.grid.y, launch.grid.z};
    const u32 block[3] = {launch.block.x, launch.block.y, launch.block.z};
    // GPUs before compute capability 9.0 ignore the attribute.
    const LaunchOrder order = compute_capability() < 90 ? LaunchOrder::kUnchained
                              : launch.dependent        ? LaunchOrder::kDependent
                                                        : LaunchOrder::kAfterAll;
    try {
        cuda_emulator::launch(*kernel.image->module(), kernel.name, grid, block, parameters.data(),
                              static_cast<u32>(launch.dynamic_shared), order);
        return cudaSuccess;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "cuda_emulator: %s: %s\n", kernel.name.c_str(), error.what());
        return fail_in_kernel(error_of(error.what()));
    }
}

/// The error that a GPU would return for an invalid launch.
cudaError_t check(const Kernel &kernel, const Function &function, const Launch &launch) {
    const dim3 grid = launch.grid, block = launch.block;
    const u64 threads = static_cast<u64>(block.x) * block.y * block.z;
    const bool block_fits = threads > 0 && threads <= kThreadsPerBlock && block.z <= kBlockDepth;
    const bool grid_fits =
        grid.x && grid.y && grid.z && grid.x <= kGridWidth && grid.y <= kGridHeight && grid.z <= kGridHeight;
    if (!block_fits || !grid_fits) {
        return cudaErrorInvalidConfiguration;
    }
    if (function.max_threads && threads > function.max_threads) {
        return cudaErrorInvalidValue;
    }
    const u64 shared = function.shared_bytes + launch.dynamic_shared;
    if (launch.dynamic_shared > kernel.dynamic_shared_limit ||
        shared > std::max(largest_shared_bytes(), function.shared_bytes)) {
        return cudaErrorInvalidValue;
    }
    const bool needs_opting_in = launch.dynamic_shared && shared > kSharedBytes;
    return needs_opting_in && !kernel.opted_in ? cudaErrorInvalidValue : cudaSuccess;
}

cudaError_t launch_kernel(const void *host_function, const Launch &launch, void **arguments) {
    Lock lock(runtime::mutex);
    Kernel *kernel = find_kernel(host_function);
    if (!kernel) {
        return fail(cudaErrorInvalidDeviceFunction);
    }
    const Function *function = kernel->function();
    if (!function) {
        return fail(kernel->image->ptx.empty() ? cudaErrorNoKernelImageForDevice : cudaErrorInvalidDeviceFunction);
    }
    if (const cudaError_t error = check(*kernel, *function, launch)) {
        return fail(error);
    }
    // Copied, because a recorded launch runs later.
    std::vector<u8> parameters(function->parameter_bytes);
    for (size_t i = 0; i < function->parameters.size(); i++) {
        std::memcpy(&parameters[function->parameter_offsets[i]], arguments[i],
                    std::max(1, function->parameters[i].bytes));
    }
    return submit(launch.stream, cudaGraphNodeTypeKernel,
                  [=, kernel = *kernel] { return run(kernel, launch, parameters); });
}

}  // namespace

cudaError_t cudaLaunchKernel(const void *function, dim3 grid, dim3 block, void **arguments, size_t dynamic_shared,
                             cudaStream_t stream) {
    return launch_kernel(function, {grid, block, dynamic_shared, stream}, arguments);
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *config, const void *function, void **arguments) {
    if (!config) {
        return fail(cudaErrorInvalidValue);
    }
    bool dependent = false;
    for (unsigned i = 0; i < config->numAttrs; i++) {
        const cudaLaunchAttribute &attribute = config->attrs[i];
        const auto &cluster = attribute.val.clusterDim;
        if (attribute.id == cudaLaunchAttributeClusterDimension && cluster.x * cluster.y * cluster.z > 1) {
            std::fprintf(stderr, "cuda_emulator: thread block clusters are not supported\n");
            return fail(cudaErrorNotSupported);
        }
        dependent |= attribute.id == cudaLaunchAttributeProgrammaticStreamSerialization &&
                     attribute.val.programmaticStreamSerializationAllowed;
    }
    const Launch launch = {config->gridDim, config->blockDim, config->dynamicSmemBytes, config->stream, dependent};
    return launch_kernel(function, launch, arguments);
}

cudaError_t cudaLaunchCooperativeKernel(const void *host_function, dim3 grid, dim3 block, void **arguments,
                                        size_t dynamic_shared, cudaStream_t stream) {
    Lock lock(runtime::mutex);
    Kernel *kernel = find_kernel(host_function);
    const Function *function = kernel ? kernel->function() : nullptr;
    if (function && function->syncs_grid) {
        std::fprintf(stderr, "cuda_emulator: %s: grid-wide synchronisation (grid.sync) is not supported\n",
                     kernel->name.c_str());
        return fail(cudaErrorNotSupported);
    }
    return launch_kernel(host_function, {grid, block, dynamic_shared, stream}, arguments);
}

// nvcc translates kernel<<<...>>>(...) into these calls. A kernel's handle is the address of its stub.
extern "C" {

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t dynamic_shared, cudaStream_t stream) {
    configurations.push_back({grid, block, dynamic_shared, stream});
    return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *dynamic_shared, void *stream) {
    if (configurations.empty()) {
        return fail(cudaErrorMissingConfiguration);
    }
    const Launch launch = configurations.back();
    configurations.pop_back();
    *grid = launch.grid;
    *block = launch.block;
    *dynamic_shared = launch.dynamic_shared;
    *static_cast<cudaStream_t *>(stream) = launch.stream;
    return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *host_function) {
    Lock lock(runtime::mutex);
    *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void *>(host_function));
    return find_kernel(host_function) ? cudaSuccess : cudaErrorInvalidDeviceFunction;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **arguments, size_t dynamic_shared,
                               cudaStream_t stream) {
    return launch_kernel(kernel, {grid, block, dynamic_shared, stream}, arguments);
}

}  // extern "C"
