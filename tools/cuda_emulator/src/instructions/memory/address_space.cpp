#include "instructions/handlers.h"
#include "instructions/lanes.h"

namespace cuda_emulator {
namespace {

/// cvta and mapa do nothing: an address is the same in every space, and a cluster has one block.
void same_address(Execution &x) {
    map(x, kBits64, [](u64 address) { return address; });
}

void is_in_space(Execution &x) {
    const Space space = x.instruction->space;
    map(x, kBits64, [&](u64 address) -> u64 {
        const bool shared = memory::is_shared(address), local = x.is_local(address);
        const bool parameter = memory::is_parameter(address);
        switch (space) {
            case Space::kShared:
                return shared;
            case Space::kLocal:
                return local;
            case Space::kParameter:
                return parameter;
            case Space::kGlobal:
                return !shared && !local && !parameter;
            default:
                return false;
        }
    });
}

}  // namespace

Handler select_address(Instruction &instruction) {
    if (instruction.opcode == "cvta" || instruction.opcode == "mapa") {
        return same_address;
    }
    return instruction.opcode == "isspacep" ? is_in_space : nullptr;
}

}  // namespace cuda_emulator
