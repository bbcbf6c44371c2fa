#include "runtime/settings.h"

#include <algorithm>
#include <cstdlib>

#include "memory/address_space.h"

namespace cuda_emulator::runtime {
namespace {

int number(const char *variable, int otherwise) {
    const char *value = std::getenv(variable);
    return value && *value ? std::atoi(value) : otherwise;
}

}  // namespace

int compute_capability() {
    return number("CUDA_EMULATOR_CC", 89);
}

u32 largest_shared_bytes() {
    const int most_kib = memory::kLargestShared / 1024;
    return static_cast<u32>(std::min(most_kib, number("CUDA_EMULATOR_SMEM_OPTIN", most_kib))) * 1024;
}

int multiprocessors() {
    return number("CUDA_EMULATOR_SMS", 24);
}

u64 device_memory_bytes() {
    return static_cast<u64>(number("CUDA_EMULATOR_MEM_MB", 8192)) << 20;
}

bool faults_are_sticky() {
    return number("CUDA_EMULATOR_STICKY", 0) != 0;
}

}  // namespace cuda_emulator::runtime
