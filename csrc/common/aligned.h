#pragma once

#include <cstddef>
#include <cstdint>

namespace retinaface {

inline bool is_aligned(const void *pointer, size_t bytes) {
    return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

}  // namespace retinaface
