#include <algorithm>

#include "instructions/handlers.h"
#include "instructions/memory/addresses.h"

namespace cuda_emulator {
namespace {

/// How many bytes each lane reads from the source; the rest is filled with zeros. The fourth operand is the number,
/// or a predicate to ignore the source.
struct SourceBytes {
    const u64 *values = nullptr;  ///< null: all bytes
    bool ignores = false;
    u32 all = 0;

    SourceBytes(Execution &x, u32 bytes) : all(bytes) {
        if (x.instruction->operands.size() > 3) {
            const Operand &operand = x.instruction->operands[3];
            ignores = operand.is(OperandKind::kRegister) && x.block.function->register_bits[operand.reg] == 1;
            values = x.source(operand, ignores ? kPredicate : kBits32);
        }
    }
    u32 of(int lane) const {
        if (!values) {
            return all;
        }
        return ignores ? (values[lane] ? 0 : all) : std::min(all, static_cast<u32>(values[lane]));
    }
};

/// Copies at once, so a missing wait for cp.async is not detected.
void copy_now(Execution &x) {
    const Instruction &instruction = *x.instruction;
    const u32 bytes = static_cast<u32>(instruction.operands[2].immediate);
    if (bytes != 4 && bytes != 8 && bytes != 16) {
        x.fault(x.first_lane(), "cp.async size");
    }
    const u64 *to = addresses_of(x, instruction.operands[0], true);
    const u64 *from = addresses_of(x, instruction.operands[1], false);
    const SourceBytes source_bytes(x, bytes);

    x.count_store(to, bytes);
    const u32 lanes = x.active;
    u32 reading = 0;
    x.each([&](int lane) { reading |= source_bytes.of(lane) > 0 ? lane_bit(lane) : 0; });
    if (reading) {
        x.active = reading;
        x.count_load(from, bytes);
        x.active = lanes;
    }
    x.each([&](int lane) {
        const u32 read = source_bytes.of(lane);
        u8 buffer[16] = {};
        x.check_alignment(to[lane], bytes, lane);
        if (read) {
            x.check_alignment(from[lane], bytes, lane);
        }
        for (u32 i = 0; i < read;) {
            const u32 step = read - i >= 4 ? 4 : 1;
            x.check_load(from[lane] + i, step, lane);
            const u64 value = x.load(from[lane] + i, step, lane);
            std::memcpy(buffer + i, &value, step);
            i += step;
        }
        for (u32 i = 0; i < bytes; i += 4) {
            x.check_store(to[lane] + i, 4, lane);
        }
        std::memcpy(reinterpret_cast<void *>(to[lane]), buffer, bytes);
    });
}

}  // namespace

Handler select_async_copy(Instruction &instruction) {
    if (instruction.opcode != "cp") {
        return nullptr;
    }
    const std::vector<std::string> &modifiers = instruction.modifiers;
    if (modifiers.empty() || modifiers[0] != "async" || instruction.has("bulk") || instruction.has("mbarrier")) {
        instruction.refusal = "bulk copy / TMA / mbarrier";
        return nullptr;
    }
    if (instruction.has("commit_group") || instruction.has("wait_group") || instruction.has("wait_all")) {
        return no_operation;
    }
    const bool known_size = instruction.operands.size() >= 3 && instruction.operands[2].is(OperandKind::kImmediate);
    return known_size ? copy_now : nullptr;
}

}  // namespace cuda_emulator
