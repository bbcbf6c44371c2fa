#pragma once
#include "execution/execution.h"

namespace cuda_emulator {

/// Lanes arrive at the barrier instruction of `x`; those that must wait become not runnable.
void arrive_at_barrier(Execution &x, u32 lanes);

/// Releases the barriers at which all threads that have not exited have arrived.
void release_barriers(Block &block);

/// Lanes arrive at a warp operation, which runs when all lanes of its mask have arrived.
/// True if these were the last lanes and `group` consists of the whole mask, so that it may go on.
bool arrive_at_warp_sync(Execution &x, u32 group, u32 lanes, int pc);

}  // namespace cuda_emulator
