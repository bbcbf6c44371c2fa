#pragma once
#include "execution/execution.h"

namespace cuda_emulator {

/// Lanes arrive at the barrier that is the instruction of `x`; those that must wait are no longer runnable.
void arrive_at_barrier(Execution &x, u32 lanes);

/// Lets go of the barriers at which all have arrived, also because the others have exited.
void release_barriers(Block &block);

/// Lanes arrive at an operation of their warp, which runs when all lanes of its mask are there.
/// True when these lanes were all, and `group` with them may go on.
bool arrive_at_warp_sync(Execution &x, u32 group, u32 lanes, int pc);

}  // namespace cuda_emulator
