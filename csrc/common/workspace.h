#pragma once

#include <cstddef>
#include <cstdint>

namespace retinaface {

/// Cuts a caller's workspace into aligned arrays.
///
/// An operator describes its layout once, in a function that takes a Workspace; run on a null base the
/// same function measures, so that the size query and the pointers cannot disagree.
class Workspace {
  public:
    explicit Workspace(void *base) : base_(static_cast<unsigned char *>(base)) {}

    template <typename T>
    T *take(size_t count) {
        constexpr size_t kAlignment = 256;  // what cudaMalloc guarantees
        size_t begin = (bytes_ + kAlignment - 1) / kAlignment * kAlignment;
        bytes_ = begin + count * sizeof(T);
        return base_ == nullptr ? nullptr : reinterpret_cast<T *>(base_ + begin);
    }

    size_t bytes() const { return bytes_; }

  private:
    unsigned char *base_;
    size_t bytes_ = 0;
};

}  // namespace retinaface
