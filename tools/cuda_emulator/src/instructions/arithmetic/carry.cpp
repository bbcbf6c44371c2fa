#include "instructions/handlers.h"

// add, sub and mad with .cc, which sets the carry flag; addc, subc and madc, which read it.

namespace cuda_emulator {
namespace {

using s128 = __int128;
using u128 = unsigned __int128;

void with_carry(Execution &x) {
    const Instruction &instruction = *x.instruction;
    const std::string &opcode = instruction.opcode;
    const Type type = instruction.type();
    if (type.bits != 32 && type.bits != 64) {
        x.fault(x.first_lane(), "carry arithmetic of this width");
    }
    const bool reads = opcode.back() == 'c', sets = instruction.has("cc");
    const bool subtracts = opcode.compare(0, 3, "sub") == 0, multiplies = instruction.operands.size() > 3;
    u64 *result = x.destination();
    const u64 *a = x.source(1, type), *b = x.source(2, type), *c = multiplies ? x.source(3, type) : nullptr;
    x.each([&](int lane) {
        u128 left = mask_to(a[lane], type.bits), right = mask_to(b[lane], type.bits);
        if (multiplies) {
            const u128 product =
                type.is_signed()
                    ? static_cast<u128>(static_cast<s128>(s64(extend(a[lane], type))) * s64(extend(b[lane], type)))
                    : left * right;
            left = mask_to(static_cast<u64>(instruction.high ? product >> type.bits : product), type.bits);
            right = mask_to(c[lane], type.bits);
        }
        const u32 carry = reads ? x.warp.carry >> lane & 1 : 0;
        const u128 sum = subtracts ? left - right - carry : left + right + carry;
        if (sets) {
            const u32 carried = static_cast<u32>(static_cast<u64>(sum >> type.bits) & 1);
            x.warp.carry = (x.warp.carry & ~lane_bit(lane)) | carried << lane;
        }
        result[lane] = mask_to(static_cast<u64>(sum), type.bits);
    });
}

}  // namespace

Handler select_carry(Instruction &instruction) {
    const std::string &opcode = instruction.opcode;
    if (opcode == "addc" || opcode == "subc" || opcode == "madc") {
        return with_carry;
    }
    const bool sets_carry = instruction.has("cc") && (opcode == "add" || opcode == "sub" || opcode == "mad");
    return sets_carry ? with_carry : nullptr;
}

}  // namespace cuda_emulator
