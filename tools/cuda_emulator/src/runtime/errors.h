#pragma once
#include <cuda_runtime_api.h>

#include <mutex>

namespace cuda_emulator::runtime {

/// Held by every call that uses what follows or what the other headers here declare. Callbacks may call the runtime.
extern std::recursive_mutex mutex;
using Lock = std::lock_guard<std::recursive_mutex>;

/// Remembers an error for cudaGetLastError() and returns it.
cudaError_t fail(cudaError_t error);

/// A kernel's fault, which the launch returns and the next call that waits for the device reports again.
cudaError_t fail_in_kernel(cudaError_t error);

/// The error that every call gives once a fault is sticky, else cudaSuccess.
cudaError_t sticky_error();

/// What a call that waits for the device gives: all work is done, so it only reports faults.
cudaError_t synchronise();

}  // namespace cuda_emulator::runtime
