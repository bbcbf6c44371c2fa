#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "common/host_device.h"

namespace retinaface {

/// e^x in float32, from additions, multiplications and exponent bits only, so that CPU and GPU return the same bits
/// (their library functions differ in the last place). Error below 1 ulp for results in the normal range; 0 below
/// -87.33, inf above 88.72, NaN for NaN.
///
/// Range reduction x = n ln2 + r, |r| <= ln2/2 (Cody and Waite's split of ln2), then the Taylor series of e^r to
/// degree 7.
RF_HOST_DEVICE float exact_exp(float x) {
    if (!(x >= -87.33654f)) {  // also catches NaN
        return x != x ? x : 0.0f;
    }
    if (x > 88.72283f) {
        return INFINITY;
    }
    constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer
    float shifted = x * 1.44269504f + kRound;
    float n = shifted - kRound;
    float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.9841270e-4f;
    p = p * r + 1.3888889e-3f;
    p = p * r + 8.3333333e-3f;
    p = p * r + 4.1666668e-2f;
    p = p * r + 1.6666667e-1f;
    p = p * r + 5.0e-1f;
    float value = (p * r * r + r) + 1.0f;
    // 2^n in two factors: 2^128 is not a float.
    int32_t exponent = static_cast<int32_t>(n);
    int32_t half = exponent / 2;
    int32_t bits_a = (half + 127) << 23;
    int32_t bits_b = (exponent - half + 127) << 23;
    float a, b;
    memcpy(&a, &bits_a, sizeof(a));
    memcpy(&b, &bits_b, sizeof(b));
    return value * a * b;
}

}  // namespace retinaface
