#pragma once
#include "execution/execution.h"

// Each source file of this folder implements some instructions. Its select function returns the handler of an
// instruction, or null if it does not implement it; it may set the instruction's mode or refusal.

namespace cuda_emulator {

Handler select_arithmetic(Instruction &instruction);
Handler select_min_max(Instruction &instruction);
Handler select_multiplication(Instruction &instruction);
Handler select_carry(Instruction &instruction);
Handler select_logic(Instruction &instruction);
Handler select_bit_field(Instruction &instruction);
Handler select_byte_operation(Instruction &instruction);
Handler select_comparison(Instruction &instruction);
Handler select_elementary(Instruction &instruction);
Handler select_move(Instruction &instruction);
Handler select_conversion(Instruction &instruction);
Handler select_packed_conversion(Instruction &instruction);
Handler select_load_store(Instruction &instruction);
Handler select_atomic(Instruction &instruction);
Handler select_async_copy(Instruction &instruction);
Handler select_address(Instruction &instruction);
Handler select_device_call(Instruction &instruction);
/// These run when all lanes of their mask have arrived ...
Handler select_warp_operation(Instruction &instruction);
/// ... and these when all lanes have.
Handler select_matrix_product(Instruction &instruction);
Handler select_matrix_move(Instruction &instruction);
Handler select_wmma(Instruction &instruction);

/// Does nothing: instructions that order memory accesses have no effect, because all accesses are in order.
inline void no_operation(Execution &) {}

}  // namespace cuda_emulator
