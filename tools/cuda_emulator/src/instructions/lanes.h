#pragma once
#include "execution/execution.h"

// The common form of a handler: a function of a lane's sources gives its result.

namespace cuda_emulator {

template <class Function>
inline void map(Execution &x, Type type, Function function) {
    u64 *result = x.destination();
    const u64 *a = x.source(1, type);
    x.each([&](int lane) { result[lane] = function(a[lane]); });
}

template <class Function>
inline void map2(Execution &x, Type type, Function function) {
    u64 *result = x.destination();
    const u64 *a = x.source(1, type), *b = x.source(2, type);
    x.each([&](int lane) { result[lane] = function(a[lane], b[lane]); });
}

template <class Function>
inline void map3(Execution &x, Type type, Function function) {
    u64 *result = x.destination();
    const u64 *a = x.source(1, type), *b = x.source(2, type), *c = x.source(3, type);
    x.each([&](int lane) { result[lane] = function(a[lane], b[lane], c[lane]); });
}

/// Of sources with two elements in a register: applies a function of u16 to each.
template <class Function, class... Sources>
inline u64 for_halves(Function function, Sources... sources) {
    return static_cast<u64>(function(static_cast<u16>(sources)...)) |
           static_cast<u64>(function(static_cast<u16>(sources >> 16)...)) << 16;
}

}  // namespace cuda_emulator
