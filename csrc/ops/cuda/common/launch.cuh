#pragma once

#include <cuda_runtime_api.h>

#include <utility>

namespace retinaface {

/// Launches a kernel and returns the status of this launch. <<<>>> would need cudaGetLastError, which may report an
/// earlier error of other code.
template <typename... Parameters>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                   std::decay_t<Parameters>... arguments) {
    void *pointers[] = {const_cast<void *>(static_cast<const void *>(&arguments))...};
    return cudaLaunchKernel(reinterpret_cast<const void *>(kernel), grid, block, pointers, shared_bytes, stream);
}

}  // namespace retinaface
