#pragma once

#include <cstdint>
#include <cstring>

#include "common/host_device.h"

namespace retinaface {

/// Natural logarithm in float32 for finite x of 1 and above, from additions, multiplications and exponent bits only, so
/// that CPU and GPU return the same bits. Error below 1 ulp up to 256; exactly 0 for 1, and never below 0.
///
/// x = 2^n (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); log(1 + f) = f - f^2 / 2 + f^3 p(f), where p has degree 8, and
/// ln 2 is in the two parts that exact_exp uses. Source of p: Cephes, single/logf.c.
RF_HOST_DEVICE float exact_log(float x) {
    constexpr int32_t kRootOfHalf = 0x3f3504f3;
    constexpr int32_t kOne = 0x3f800000;
    int32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    bits += kOne - kRootOfHalf;
    const float n = static_cast<float>((bits >> 23) - 127);
    bits = (bits & 0x007fffff) + kRootOfHalf;
    float f;
    memcpy(&f, &bits, sizeof(f));
    f -= 1.0f;
    float p = 7.0376836292e-2f;
    p = p * f - 1.1514610310e-1f;
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    const float square = f * f;
    const float rest = (p * f * square + n * -2.12194440e-4f) - 0.5f * square;
    return n * 0.693359375f + (f + rest);
}

}  // namespace retinaface
