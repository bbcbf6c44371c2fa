#pragma once

#include <cstdint>
#include <cstring>

#include "common/host_device.h"

namespace retinaface {

/// Natural logarithm in float32 for finite x of 1 and above, from additions, multiplications, divisions and exponent
/// bits only, so that CPU and GPU return the same bits. Error below 1 ulp up to 256; exactly 0 for 1, and never below
/// 0.
///
/// x = 2^n m with m in [sqrt(1/2), sqrt(2)); log m = 2 artanh(s) with s = (m - 1) / (m + 1), by its series to s^11, and
/// ln 2 in the two parts that exact_exp uses.
RF_HOST_DEVICE float exact_log(float x) {
    constexpr int32_t kRootOfHalf = 0x3f3504f3;
    constexpr int32_t kOne = 0x3f800000;
    int32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    bits += kOne - kRootOfHalf;
    int32_t exponent = (bits >> 23) - 127;
    bits = (bits & 0x007fffff) + kRootOfHalf;
    float m;
    memcpy(&m, &bits, sizeof(m));
    float f = m - 1.0f;
    float s = f / (2.0f + f);
    float z = s * s;
    float p = 0.18181818f;
    p = p * z + 0.22222222f;
    p = p * z + 0.2857143f;
    p = p * z + 0.4f;
    p = p * z + 0.6666667f;
    float n = static_cast<float>(exponent);
    // f - s f is 2 s without another rounding of s.
    return n * 0.693359375f + ((f - s * (f - p * z)) + n * -2.12194440e-4f);
}

}  // namespace retinaface
