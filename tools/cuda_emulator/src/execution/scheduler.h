#pragma once
#include "execution/block.h"

namespace cuda_emulator {

/// Runs a warp until all of its lanes wait or about `budget` instructions are issued; false if no lane could run. The
/// lanes with the lowest program counter run first, so that diverged lanes reconverge.
bool run_warp(Block &block, Warp &warp, int budget);

}  // namespace cuda_emulator
