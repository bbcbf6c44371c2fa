#pragma once
#include <algorithm>
#include <type_traits>

#include "instructions/lanes.h"

namespace cuda_emulator {

/// The types for which arithmetic handlers are instantiated.
enum class Value {
    kF32,
    kF64,
    kF16,
    kF16X2,
    kBf16,
    kBf16X2,
    kF32X2,
    kS16X2,
    kU16X2,
    kS16,
    kS32,
    kS64,
    kU16,
    kU32,
    kU64,
    kOther,
};

inline bool is_floating(Value value) {
    return value <= Value::kF32X2;
}
inline bool is_integer(Value value) {
    return value >= Value::kS16 && value <= Value::kU64;
}

inline Value value_of(Type type) {
    const auto by_bits = [&](Value of16, Value of32, Value of64) {
        return type.bits == 64 ? of64 : type.bits == 32 ? of32 : type.bits == 16 ? of16 : Value::kOther;
    };
    switch (type.kind) {
        case Kind::kFloat:
            return by_bits(Value::kF16, Value::kF32, Value::kF64);
        case Kind::kSigned:
            return by_bits(Value::kS16, Value::kS32, Value::kS64);
        case Kind::kUnsigned:
        case Kind::kBits:
            return by_bits(Value::kU16, Value::kU32, Value::kU64);
        case Kind::kHalfX2:
            return Value::kF16X2;
        case Kind::kBfloat16:
            return Value::kBf16;
        case Kind::kBfloat16X2:
            return Value::kBf16X2;
        case Kind::kFloat32X2:
            return Value::kF32X2;
        case Kind::kSigned16X2:
            return Value::kS16X2;
        case Kind::kUnsigned16X2:
            return Value::kU16X2;
        default:
            return Value::kOther;
    }
}

/// Applies a function to registers of one kind. Halves and bfloat16 are computed in float; integers as s64 or u64,
/// truncated to the type.
template <Value V, class Function, class... Bits>
inline u64 apply(Function f, Bits... x) {
    if constexpr (V == Value::kF32) {
        return f32_bits(f(f32_value(x)...));
    } else if constexpr (V == Value::kF64) {
        return f64_bits(f(f64_value(x)...));
    } else if constexpr (V == Value::kF16) {
        return half_bits(f(half_value(static_cast<u16>(x))...));
    } else if constexpr (V == Value::kBf16) {
        return bf16_bits(f(bf16_value(static_cast<u16>(x))...));
    } else if constexpr (V == Value::kF16X2) {
        return for_halves([&](auto... h) { return half_bits(f(half_value(h)...)); }, x...);
    } else if constexpr (V == Value::kBf16X2) {
        return for_halves([&](auto... h) { return bf16_bits(f(bf16_value(h)...)); }, x...);
    } else if constexpr (V == Value::kF32X2) {
        return f32_bits(f(f32_value(x)...)) | f32_bits(f(f32_value(x >> 32)...)) << 32;
    } else if constexpr (V == Value::kS16X2) {
        return for_halves([&](auto... h) { return static_cast<u16>(f(s64(s16(h))...)); }, x...);
    } else if constexpr (V == Value::kU16X2) {
        return for_halves([&](auto... h) { return static_cast<u16>(f(u64(h)...)); }, x...);
    } else if constexpr (V == Value::kS16) {
        return static_cast<u16>(f(s64(s16(x))...));
    } else if constexpr (V == Value::kS32) {
        return static_cast<u32>(f(s64(s32(x))...));
    } else if constexpr (V == Value::kS64) {
        return static_cast<u64>(f(s64(x)...));
    } else if constexpr (V == Value::kU16) {
        return static_cast<u16>(f(u64(u16(x))...));
    } else if constexpr (V == Value::kU32) {
        return static_cast<u32>(f(u64(u32(x))...));
    } else {
        return static_cast<u64>(f(x...));
    }
}

// Handlers<V>::run for the values of a type; null for other kinds of types.
template <template <Value> class Handlers>
inline Handler for_integers(Type type) {
    switch (value_of(type)) {
        case Value::kS16:
            return Handlers<Value::kS16>::run;
        case Value::kS32:
            return Handlers<Value::kS32>::run;
        case Value::kS64:
            return Handlers<Value::kS64>::run;
        case Value::kU16:
            return Handlers<Value::kU16>::run;
        case Value::kU32:
            return Handlers<Value::kU32>::run;
        case Value::kU64:
            return Handlers<Value::kU64>::run;
        default:
            return nullptr;
    }
}

template <template <Value> class Handlers>
inline Handler for_floats(Type type) {
    switch (value_of(type)) {
        case Value::kF32:
            return Handlers<Value::kF32>::run;
        case Value::kF64:
            return Handlers<Value::kF64>::run;
        case Value::kF16:
            return Handlers<Value::kF16>::run;
        case Value::kBf16:
            return Handlers<Value::kBf16>::run;
        default:
            return nullptr;
    }
}

template <template <Value> class Handlers>
inline Handler for_packed(Type type) {
    switch (value_of(type)) {
        case Value::kF16X2:
            return Handlers<Value::kF16X2>::run;
        case Value::kBf16X2:
            return Handlers<Value::kBf16X2>::run;
        case Value::kF32X2:
            return Handlers<Value::kF32X2>::run;
        case Value::kS16X2:
            return Handlers<Value::kS16X2>::run;
        case Value::kU16X2:
            return Handlers<Value::kU16X2>::run;
        default:
            return nullptr;
    }
}

template <template <Value> class Handlers>
inline Handler for_all_values(Type type) {
    if (const Handler handler = for_integers<Handlers>(type)) {
        return handler;
    }
    const Handler handler = for_floats<Handlers>(type);
    return handler ? handler : for_packed<Handlers>(type);
}

/// .sat of floating point: NaN becomes 0.
template <class Float>
inline Float saturate(Float value) {
    return value != value ? Float(0) : std::min(Float(1), std::max(Float(0), value));
}

/// .relu of floating point: NaN stays.
template <class Float>
inline Float relu(Float value) {
    return value != value || value > 0 ? value : Float(0);
}

/// min and max of IEEE 754-2019: -0 is less than +0. If one value is NaN, the result is the other value, or NaN with
/// `propagate_nan`.
template <class Float>
inline Float min_max(Float x, Float y, bool is_max, bool propagate_nan) {
    if (x != x || y != y) {
        if (propagate_nan || (x != x && y != y)) {
            return static_cast<Float>(NAN);
        }
        return x != x ? y : x;
    }
    if (x == y) {
        return std::signbit(x) == is_max ? y : x;
    }
    return (x < y) != is_max ? x : y;
}

}  // namespace cuda_emulator
