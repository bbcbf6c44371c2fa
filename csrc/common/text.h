#pragma once

#include <cstdio>
#include <string>
#include <type_traits>

namespace retinaface {

// Without C++ streams: they print numbers through the process's C++ locale, which is another program's to set, and in
// a Python process it may belong to another copy of the C++ library.

template <typename Piece>
std::string text_of(const Piece &piece) {
    if constexpr (std::is_floating_point_v<Piece>) {
        char digits[32];
        std::snprintf(digits, sizeof(digits), "%g", static_cast<double>(piece));
        return digits;
    } else if constexpr (std::is_arithmetic_v<Piece>) {
        return std::to_string(piece);
    } else {
        return piece;
    }
}

/// All `pieces`, strings and numbers, written one after another.
template <typename... Pieces>
std::string text(const Pieces &...pieces) {
    std::string whole;
    ((whole += text_of(pieces)), ...);
    return whole;
}

}  // namespace retinaface
