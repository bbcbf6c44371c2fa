#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>

namespace cuda_emulator {

// Integer types have their PTX names.
using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using s8 = int8_t;
using s16 = int16_t;
using s32 = int32_t;
using s64 = int64_t;

/// An error of a kernel or its PTX, or something that the emulator does not support.
struct Error : std::runtime_error {
    using runtime_error::runtime_error;
};

/// The meaning of a PTX scalar's bits. Packed kinds have two elements in a register.
enum class Kind {
    kPredicate,
    kBits,
    kUnsigned,
    kSigned,
    kFloat,
    kBfloat16,
    kHalfX2,
    kBfloat16X2,
    kSigned16X2,
    kUnsigned16X2,
    kFloat32X2,
    kTf32,
    kE4m3,
    kE5m2,
    kE4m3X2,
    kE5m2X2,
};

struct Type {
    Kind kind = Kind::kBits;
    int bits = 32;  ///< of the whole register, also for packed kinds

    int bytes() const { return bits < 8 ? 1 : bits / 8; }
    bool is_signed() const { return kind == Kind::kSigned; }
    bool is_f16() const { return kind == Kind::kFloat && bits == 16; }
    bool is_f32() const { return kind == Kind::kFloat && bits == 32; }
    bool is_f64() const { return kind == Kind::kFloat && bits == 64; }
};

constexpr Type kPredicate = {Kind::kPredicate, 1};
constexpr Type kBits32 = {Kind::kBits, 32};
constexpr Type kBits64 = {Kind::kBits, 64};

/// Parses "f32" and the like; false if it is not a type.
bool parse_type(const std::string &name, Type &type);

inline u64 mask_to(u64 value, int bits) {
    return bits >= 64 ? value : value & ((u64(1) << bits) - 1);
}

/// Extends to 64 bits: signed types with their sign, others with zeros.
inline u64 extend(u64 value, Type type) {
    if (type.bits >= 64) {
        return value;
    }
    if (type.is_signed()) {
        const int shift = 64 - type.bits;
        return static_cast<u64>(static_cast<s64>(value << shift) >> shift);
    }
    return mask_to(value, type.bits);
}

}  // namespace cuda_emulator
