#include "numbers/type.h"

#include <map>

namespace cuda_emulator {

bool parse_type(const std::string &name, Type &type) {
    static const std::map<std::string, Type> types = {
        {"pred", kPredicate},
        {"b8", {Kind::kBits, 8}},
        {"b16", {Kind::kBits, 16}},
        {"b32", {Kind::kBits, 32}},
        {"b64", {Kind::kBits, 64}},
        {"b128", {Kind::kBits, 128}},
        {"u8", {Kind::kUnsigned, 8}},
        {"u16", {Kind::kUnsigned, 16}},
        {"u32", {Kind::kUnsigned, 32}},
        {"u64", {Kind::kUnsigned, 64}},
        {"s8", {Kind::kSigned, 8}},
        {"s16", {Kind::kSigned, 16}},
        {"s32", {Kind::kSigned, 32}},
        {"s64", {Kind::kSigned, 64}},
        {"f16", {Kind::kFloat, 16}},
        {"f32", {Kind::kFloat, 32}},
        {"f64", {Kind::kFloat, 64}},
        {"bf16", {Kind::kBfloat16, 16}},
        {"tf32", {Kind::kTf32, 32}},
        {"e4m3", {Kind::kE4m3, 8}},
        {"e5m2", {Kind::kE5m2, 8}},
        {"f16x2", {Kind::kHalfX2, 32}},
        {"bf16x2", {Kind::kBfloat16X2, 32}},
        {"s16x2", {Kind::kSigned16X2, 32}},
        {"u16x2", {Kind::kUnsigned16X2, 32}},
        {"e4m3x2", {Kind::kE4m3X2, 16}},
        {"e5m2x2", {Kind::kE5m2X2, 16}},
        {"f32x2", {Kind::kFloat32X2, 64}},
    };
    const auto found = types.find(name);
    if (found == types.end()) {
        return false;
    }
    type = found->second;
    return true;
}

}  // namespace cuda_emulator
