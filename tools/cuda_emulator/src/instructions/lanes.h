#pragma once
#include "execution/execution.h"

// Common handlers: they apply a function to the sources of each lane.

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

/// For registers with two elements: applies a function of u16 to each element.
template <class Function, class... Sources>
inline u64 for_halves(Function function, Sources... sources) {
    return static_cast<u64>(function(static_cast<u16>(sources)...)) |
           static_cast<u64>(function(static_cast<u16>(sources >> 16)...)) << 16;
}

}  // namespace cuda_emulator
