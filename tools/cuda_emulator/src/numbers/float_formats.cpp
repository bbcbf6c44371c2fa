#include "numbers/float_formats.h"

#include <algorithm>

namespace cuda_emulator {

long double round_to_integer(long double value, Rounding rounding) {
    switch (rounding) {
        case Rounding::kTowardsZero:
            return std::trunc(value);
        case Rounding::kDown:
            return std::floor(value);
        case Rounding::kUp:
            return std::ceil(value);
        case Rounding::kNearestAway:
            return std::round(value);
        default:
            return std::rint(value);  // the host rounds to nearest even
    }
}

u64 round_to_format(long double value, int exponent_bits, int mantissa_bits, Rounding rounding) {
    const bool negative = std::signbit(value);
    const u64 sign = negative ? u64(1) << (exponent_bits + mantissa_bits) : 0;
    const u64 infinity = ((u64(1) << exponent_bits) - 1) << mantissa_bits;
    if (value != value) {
        return (u64(1) << (exponent_bits + mantissa_bits)) - 1;  // the GPU's NaN: all ones but the sign
    }
    const long double magnitude = std::fabs(value);
    if (std::isinf(magnitude)) {
        return sign | infinity;
    }
    if (magnitude == 0) {
        return sign;
    }
    const int bias = (1 << (exponent_bits - 1)) - 1;
    int exponent;
    std::frexp(magnitude, &exponent);
    exponent = std::max(exponent - 1, 1 - bias);  // smaller numbers are subnormal

    Rounding of_magnitude = rounding;
    if (rounding == Rounding::kDown) {
        of_magnitude = negative ? Rounding::kUp : Rounding::kTowardsZero;
    } else if (rounding == Rounding::kUp) {
        of_magnitude = negative ? Rounding::kTowardsZero : Rounding::kUp;
    }
    const long double in_last_places = std::ldexp(magnitude, mantissa_bits - exponent);
    u64 mantissa = static_cast<u64>(round_to_integer(in_last_places, of_magnitude));
    const u64 implicit_one = u64(1) << mantissa_bits;
    if (mantissa >= 2 * implicit_one) {
        mantissa = implicit_one;
        exponent++;
    }
    if (exponent > bias) {
        return sign | (of_magnitude == Rounding::kTowardsZero ? infinity - 1 : infinity);
    }
    if (mantissa < implicit_one) {
        return sign | mantissa;
    }
    return sign | static_cast<u64>(exponent + bias) << mantissa_bits | (mantissa & (implicit_one - 1));
}

double sum_to_odd(double a, double b) {
    const double sum = a + b;
    if (!std::isfinite(sum)) {
        return sum;
    }
    const double of_b = sum - a, error = (a - (sum - of_b)) + (b - of_b);
    const u64 bits = f64_bits(sum);
    if (error == 0 || bits & 1) {
        return sum;
    }
    return f64_value((error > 0) == (sum > 0) ? bits + 1 : bits - 1);
}

float round_to_odd(double value) {
    const float rounded = static_cast<float>(value);
    if (static_cast<double>(rounded) == value || !std::isfinite(rounded) || value != value) {
        return rounded;
    }
    const bool away_from_zero = std::fabs(static_cast<double>(rounded)) > std::fabs(value);
    return f32_value((f32_bits(rounded) - away_from_zero) | 1);
}

float e4m3_value(u8 bits) {
    const int exponent = bits >> 3 & 15, mantissa = bits & 7;
    float magnitude;
    if (exponent == 15 && mantissa == 7) {
        magnitude = NAN;
    } else if (exponent) {
        magnitude = std::ldexp(1 + mantissa / 8.f, exponent - 7);
    } else {
        magnitude = std::ldexp(mantissa / 8.f, -6);
    }
    return bits >> 7 ? -magnitude : magnitude;
}

u8 e4m3_bits(double value) {
    constexpr u8 kNan = 0x7f, kLargest = 0x7e;
    if (value != value) {
        return kNan;
    }
    const u8 sign = std::signbit(value) ? 0x80 : 0;
    if (std::fabs(value) >= 448) {
        return sign | kLargest;
    }
    // This format has no infinity, so the largest exponent is used for numbers. That also holds for five exponent bits,
    // with a bias that is greater by 8.
    const u64 wide = round_to_format(std::ldexp(std::fabs(value), -8), 5, 3, Rounding::kNearestEven);
    return sign | static_cast<u8>(std::min<u64>(wide, kLargest));
}

u8 e5m2_bits(double value) {
    constexpr u8 kNan = 0x7f, kInfinity = 0x7c, kLargest = 0x7b;
    if (value != value) {
        return kNan;
    }
    const u8 bits = static_cast<u8>(round_to_format(value, 5, 2, Rounding::kNearestEven));
    return (bits & 0x7f) >= kInfinity ? (bits & 0x80) | kLargest : bits;
}

}  // namespace cuda_emulator
