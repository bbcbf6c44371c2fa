#pragma once
#include "execution/block.h"

namespace cuda_emulator {

/// Runs a warp until all of its lanes wait or about `budget` instructions are issued; false when none could run. Of its
/// lanes those with the lowest program counter run first, so that lanes that diverged meet again.
bool run_warp(Block &block, Warp &warp, int budget);

}  // namespace cuda_emulator
