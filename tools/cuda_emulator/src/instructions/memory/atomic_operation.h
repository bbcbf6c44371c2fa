#pragma once
#include "ptx/instruction.h"

namespace cuda_emulator {

enum AtomicOperation {
    kAtomicAdd,
    kAtomicMin,
    kAtomicMax,
    kAtomicAnd,
    kAtomicOr,
    kAtomicXor,
    kAtomicExchange,
    kAtomicCompareAndSwap,
    kAtomicIncrement,
    kAtomicDecrement,
    kNoAtomicOperation
};

/// The operation in an instruction's modifiers.
AtomicOperation atomic_operation_of(const Instruction &instruction);

/// Returns the new value for `old`; `swap` is the third operand of cas.
u64 apply_atomic(int operation, Type type, u64 old, u64 operand, u64 swap = 0);

}  // namespace cuda_emulator
