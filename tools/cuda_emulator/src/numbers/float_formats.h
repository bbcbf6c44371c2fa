#pragma once
#ifdef __F16C__
#include <immintrin.h>
#endif

#include <cmath>
#include <cstring>

#include "numbers/type.h"

// Conversions between the bits in registers and their values. They round to nearest even unless stated otherwise.

namespace cuda_emulator {

template <class To, class From>
inline To bit_cast(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof(to));
    return to;
}

inline float f32_value(u64 bits) {
    return bit_cast<float>(static_cast<u32>(bits));
}
inline u64 f32_bits(float value) {
    return bit_cast<u32>(value);
}
inline double f64_value(u64 bits) {
    return bit_cast<double>(bits);
}
inline u64 f64_bits(double value) {
    return bit_cast<u64>(value);
}

constexpr u16 kHalfNan = 0x7fff;
constexpr u32 kFloatNan = 0x7fffffff;

inline float half_value(u16 bits) {
#ifdef __F16C__
    // Not through _Float16: a conversion to double would then call a library function.
    return _cvtsh_ss(bits);
#else
    return static_cast<float>(bit_cast<_Float16>(bits));
#endif
}

inline u16 half_bits(float value) {
    return value != value ? kHalfNan : bit_cast<u16>(static_cast<_Float16>(value));
}

// Round to odd: the last bit is set if the result is inexact. A second rounding, to fewer bits, is then still correct.
double sum_to_odd(double a, double b);
float round_to_odd(double value);

inline u16 half_bits(double value) {
    return half_bits(round_to_odd(value));
}

inline float bf16_value(u16 bits) {
    return f32_value(static_cast<u32>(bits) << 16);
}

inline u16 bf16_bits(float value) {
    if (value != value) {
        return kHalfNan;
    }
    const u32 bits = static_cast<u32>(f32_bits(value));
    return static_cast<u16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float e4m3_value(u8 bits);
inline float e5m2_value(u8 bits) {
    return half_value(static_cast<u16>(bits << 8));
}

/// Saturating: values beyond the largest number (448, 57344) become the largest number.
u8 e4m3_bits(double value);
u8 e5m2_bits(double value);

/// .ftz: subnormal numbers become zero.
inline float flush(float value) {
    return std::fabs(value) < 1.17549435e-38f ? std::copysign(0.f, value) : value;
}

enum class Rounding { kNone, kNearestEven, kTowardsZero, kDown, kUp, kNearestAway };

inline bool is_nearest_even(Rounding rounding) {
    return rounding == Rounding::kNone || rounding == Rounding::kNearestEven;
}

/// Rounds only once, because a long double holds every s64, u64 and f64 exactly.
u64 round_to_format(long double value, int exponent_bits, int mantissa_bits, Rounding rounding);

long double round_to_integer(long double value, Rounding rounding);

}  // namespace cuda_emulator
