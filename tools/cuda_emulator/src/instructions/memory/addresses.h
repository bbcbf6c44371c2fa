#pragma once
#include "execution/execution.h"

namespace cuda_emulator {

/// The lanes' addresses in an operand [a + offset]. Shared memory has 32-bit addresses.
inline u64 *addresses_of(Execution &x, const Operand &operand, bool is_shared) {
    const u64 *base = x.source(operand.parts[0]);
    const u64 offset = static_cast<u64>(operand.offset);
    u64 *result = x.scratch();
    if (is_shared) {
        x.each([&](int lane) { result[lane] = static_cast<u32>(base[lane]) + offset; });
    } else {
        x.each([&](int lane) { result[lane] = base[lane] + offset; });
    }
    return result;
}

inline u64 *addresses_of(Execution &x, const Operand &operand) {
    return addresses_of(x, operand, x.instruction->space == Space::kShared);
}

}  // namespace cuda_emulator
