#pragma once
#include "numbers/type.h"

// Settings of the emulated device, from environment variables.

namespace cuda_emulator::runtime {

int compute_capability();    ///< 89: CUDA_EMULATOR_CC
u32 largest_shared_bytes();  ///< per block that opts in: CUDA_EMULATOR_SMEM_OPTIN, in KiB
int multiprocessors();       ///< CUDA_EMULATOR_SMS
u64 device_memory_bytes();   ///< CUDA_EMULATOR_MEM_MB
bool faults_are_sticky();    ///< all calls after a kernel's fault fail, as on a GPU: CUDA_EMULATOR_STICKY

constexpr u32 kSharedBytes = 48 * 1024;     ///< per block that does not opt in
constexpr u32 kReservedSharedBytes = 1024;  ///< per block, reserved by the system
constexpr int kThreadsPerBlock = 1024, kBlockDepth = 64;
constexpr int kThreadsPerMultiprocessor = 1536, kBlocksPerMultiprocessor = 24;
constexpr int kGridWidth = 2147483647, kGridHeight = 65535;
constexpr int kRegisters = 65536, kConstantBytes = 65536;
constexpr int kMemoryBusBits = 192, kL2Bytes = 48 << 20, kTextureAlignment = 512, kLargestPitch = 2147483647;

}  // namespace cuda_emulator::runtime
