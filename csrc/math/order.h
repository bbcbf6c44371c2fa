#pragma once

#include <cstdint>
#include <cstring>

#include "common/host_device.h"

namespace retinaface {

/// A key whose descending order is by score, highest first, then by index, lowest first. For any finite score; -0 and 0
/// are equal.
RF_HOST_DEVICE uint64_t order_key(float score, uint32_t index) {
    float canonical = score + 0.0f;  // -0 becomes +0
    uint32_t bits;
    memcpy(&bits, &canonical, sizeof(bits));
    bits ^= (bits >> 31) != 0 ? 0xffffffffu : 0x80000000u;
    return (static_cast<uint64_t>(bits) << 32) | static_cast<uint32_t>(~index);
}

RF_HOST_DEVICE float score_of_key(uint64_t key) {
    uint32_t bits = static_cast<uint32_t>(key >> 32);
    bits ^= (bits >> 31) != 0 ? 0x80000000u : 0xffffffffu;
    float score;
    memcpy(&score, &bits, sizeof(score));
    return score;
}

RF_HOST_DEVICE uint32_t index_of_key(uint64_t key) {
    return ~static_cast<uint32_t>(key);
}

}  // namespace retinaface
