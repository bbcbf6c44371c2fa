#pragma once
#include <cuda_runtime_api.h>

#include <mutex>

namespace cuda_emulator::runtime {

/// Protects all state of the runtime; every API call locks it. Recursive, because callbacks may call the runtime.
extern std::recursive_mutex mutex;
using Lock = std::lock_guard<std::recursive_mutex>;

/// Remembers an error for cudaGetLastError() and returns it.
cudaError_t fail(cudaError_t error);

/// Records a kernel's fault: the launch returns it, and the next call that waits for the device returns it again.
cudaError_t fail_in_kernel(cudaError_t error);

/// The error of every call after a sticky fault, else cudaSuccess.
cudaError_t sticky_error();

/// The result of a call that waits for the device: all work is already done, so it only reports faults.
cudaError_t synchronise();

}  // namespace cuda_emulator::runtime
