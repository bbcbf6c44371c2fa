// Per-kernel execution statistics (CUDA_EMULATOR_STATS).
#pragma once
#include "base.h"

namespace cuda_emulator {
// One traffic class of global/local memory. A request is one warp-level access.
struct Traffic { u64 requests = 0, bytes = 0, sectors = 0; };
struct SharedTraffic { u64 requests = 0, bytes = 0, wavefronts = 0, conflicts = 0; };

enum InstClass { IC_OTHER, IC_INT, IC_FP16, IC_FP32, IC_FP64, IC_SPECIAL };

struct KernelStats {
  u64 launches = 0, blocks = 0, threads = 0;
  u64 warpInst = 0, threadInst = 0, branches = 0, divergentBranches = 0;
  Traffic globalLoad, globalStore, localLoad, localStore;
  SharedTraffic sharedLoad, sharedStore;
  u64 barriers = 0, warpSyncs = 0;                 // barrier arrivals of warps; shuffles, votes and the like
  u64 globalAtomics = 0, globalAtomicSerial = 0;   // thread-level; extra same-address steps within a warp
  u64 sharedAtomics = 0, sharedAtomicSerial = 0;
  u64 mma = 0, mmaFlops = 0;
  u64 byClass[6] = {};                             // thread-instructions by InstClass
  u32 sharedBytes = 0, localBytes = 0;
};

namespace stats {
bool enabled();
bool tracing();
KernelStats& forKernel(const string& name);
void trace(const string& name, const u32 grid[3], const u32 block[3], u32 smem);
void report();                                     // also runs at process exit
void reset();
string json();
}
}  // namespace cuda_emulator
