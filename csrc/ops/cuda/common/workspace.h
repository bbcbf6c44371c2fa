#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "common/aligned.h"

namespace retinaface {

/// Divides a workspace into arrays, each aligned as cudaMalloc aligns.
///
/// An operator describes its layout once, in a function carve(params, workspace) that takes its arrays from a
/// Workspace. On a null base the same function computes the size, so size and pointers always agree.
class Workspace {
  public:
    explicit Workspace(void *base) : base_(static_cast<unsigned char *>(base)) {}

    template <typename T>
    T *take(size_t count) {
        constexpr size_t kAlignment = 256;
        size_t begin = (bytes_ + kAlignment - 1) / kAlignment * kAlignment;
        bytes_ = begin + count * sizeof(T);
        return base_ == nullptr ? nullptr : reinterpret_cast<T *>(base_ + begin);
    }

    size_t bytes() const { return bytes_; }

  private:
    unsigned char *base_;
    size_t bytes_ = 0;
};

template <typename Params, typename Arrays>
size_t workspace_bytes_of(const Params &params, Arrays (*carve)(const Params &, Workspace &)) {
    Workspace workspace(nullptr);
    carve(params, workspace);
    return workspace.bytes();
}

/// Sets `arrays` to the caller's workspace of `bytes` bytes. Fails if it is null, too small or misaligned.
template <typename Params, typename Arrays>
cudaError_t open_workspace(const Params &params, Arrays (*carve)(const Params &, Workspace &), void *base, size_t bytes,
                           Arrays &arrays) {
    Workspace workspace(base);
    arrays = carve(params, workspace);
    if (base == nullptr || bytes < workspace.bytes()) {
        return cudaErrorInvalidValue;
    }
    return is_aligned(base, sizeof(float4)) ? cudaSuccess : cudaErrorMisalignedAddress;
}

}  // namespace retinaface
