#include "instructions/handlers.h"
#include "instructions/lanes.h"

namespace cuda_emulator {
namespace {

template <class Register>
void move(Execution &x) {
    map(x, x.instruction->type(), [](u64 a) -> u64 { return static_cast<Register>(a); });
}

void move_predicate(Execution &x) {
    map(x, kPredicate, [](u64 a) { return a; });
}

/// The rows of a register; a .b128 register has two.
int rows_of(Type type) {
    return type.bits == 128 ? 2 : 1;
}

void move_128(Execution &x) {
    for (int row = 0; row < 2; row++) {
        u64 *result = x.warp.row(x.instruction->operands[0].reg + row);
        const u64 *a = x.warp.row(x.instruction->operands[1].reg + row);
        x.each([&](int lane) { result[lane] = a[lane]; });
    }
}

void unpack(Execution &x) {  // mov.b32 {a, b}, c
    const Instruction &instruction = *x.instruction;
    const Type type = instruction.type();
    const std::vector<Operand> &elements = instruction.operands[0].parts;
    const int bits = type.bits / static_cast<int>(elements.size());
    u64 packed[2][kWarp];
    for (int row = 0; row < rows_of(type); row++) {
        const u64 *source = row == 0 ? x.source(1, type) : x.warp.row(instruction.operands[1].reg + 1);
        std::memcpy(packed[row], source, sizeof(packed[row]));
    }
    int bit = 0;
    for (const Operand &element : elements) {
        if (!element.is(OperandKind::kNone)) {
            u64 *result = x.destination(element);
            x.each([&](int lane) { result[lane] = mask_to(packed[bit / 64][lane] >> (bit % 64), bits); });
        }
        bit += bits;
    }
}

void pack(Execution &x) {  // mov.b32 c, {a, b}
    const Instruction &instruction = *x.instruction;
    const Type type = instruction.type();
    const std::vector<Operand> &elements = instruction.operands[1].parts;
    const int bits = type.bits / static_cast<int>(elements.size());
    u64 packed[2][kWarp] = {};
    int bit = 0;
    for (const Operand &element : elements) {
        const u64 *source = x.source(element, {type.kind, bits});
        x.each([&](int lane) { packed[bit / 64][lane] |= mask_to(source[lane], bits) << (bit % 64); });
        bit += bits;
    }
    for (int row = 0; row < rows_of(type); row++) {
        u64 *result = x.warp.row(instruction.operands[0].reg + row);
        x.each([&](int lane) { result[lane] = packed[row][lane]; });
    }
}

void active_mask(Execution &x) {
    u64 *result = x.destination();
    x.each([&](int lane) { result[lane] = x.active; });
}

/// createpolicy: a cache policy, which the emulator ignores.
void no_policy(Execution &x) {
    u64 *result = x.destination();
    x.each([&](int lane) { result[lane] = 0; });
}

}  // namespace

Handler select_move(Instruction &instruction) {
    if (instruction.opcode == "activemask") {
        return active_mask;
    }
    if (instruction.opcode == "createpolicy") {
        return no_policy;
    }
    if (instruction.opcode != "mov" || instruction.operands.size() != 2) {
        return nullptr;
    }
    const Type type = instruction.type();
    const Operand &to = instruction.operands[0], &from = instruction.operands[1];
    if (to.is(OperandKind::kVector)) {
        return type.bits % to.parts.size() ? nullptr : unpack;
    }
    if (from.is(OperandKind::kVector)) {
        return type.bits % from.parts.size() ? nullptr : pack;
    }
    if (type.kind == Kind::kPredicate) {
        return move_predicate;
    }
    if (type.bits == 128) {
        return to.is(OperandKind::kRegister) && from.is(OperandKind::kRegister) ? move_128 : nullptr;
    }
    return type.bits == 64 ? move<u64> : type.bits == 32 ? move<u32> : move<u16>;
}

}  // namespace cuda_emulator
