#include "instructions/handlers.h"
#include "instructions/memory/addresses.h"

namespace cuda_emulator {
namespace {

template <int Bytes, bool IsSigned>
void load(Execution &x) {
    const Instruction &instruction = *x.instruction;
    const u64 *addresses = addresses_of(x, instruction.operands[1]);
    x.count_load(addresses, Bytes);
    u64 *result = x.destination();
    const Operand &to = instruction.operands[0];
    // A signed value is sign-extended to the width of the register.
    const int register_bits = IsSigned && to.is(OperandKind::kRegister) ? x.block.function->register_bits[to.reg] : 64;
    x.each([&](int lane) {
        x.check_load(addresses[lane], Bytes, lane);
        const u64 value = x.load(addresses[lane], Bytes, lane);
        result[lane] = IsSigned ? mask_to(extend(value, {Kind::kSigned, 8 * Bytes}), register_bits) : value;
    });
}

template <int Bytes>
void store(Execution &x) {
    const Instruction &instruction = *x.instruction;
    const u64 *addresses = addresses_of(x, instruction.operands[0]);
    const u64 *values = x.source(1, instruction.types.back());
    x.count_store(addresses, Bytes);
    x.each([&](int lane) {
        x.check_store(addresses[lane], Bytes, lane);
        x.store(addresses[lane], values[lane], Bytes, lane);
    });
}

/// The words of a vector access, at most 8 bytes each; a .b128 register has two.
struct Words {
    static constexpr int kMost = 16;

    u64 *rows[kMost];  ///< null for the element "_"
    int count = 0;
    u32 bytes = 0;  ///< of one word

    u32 total_bytes() const { return count * bytes; }
};

Words words_of(Execution &x, const Operand &operand, Type type, bool loads) {
    Words words;
    words.bytes = type.bits == 128 ? 8 : type.bytes();
    const auto add = [&](const Operand &element) {
        if (element.is(OperandKind::kNone)) {
            words.rows[words.count++] = nullptr;
        } else if (loads || type.bits == 128) {
            words.rows[words.count++] = x.destination(element);
        } else {
            words.rows[words.count++] = x.source(element, type);
        }
        if (type.bits == 128) {
            words.rows[words.count] = words.rows[words.count - 1] ? words.rows[words.count - 1] + kWarp : nullptr;
            words.count++;
        }
    };
    if (operand.is(OperandKind::kVector)) {
        for (const Operand &element : operand.parts) {
            add(element);
        }
    } else {
        add(operand);
    }
    return words;
}

void load_vector(Execution &x) {
    const Instruction &instruction = *x.instruction;
    const Type type = instruction.types.back();
    const u64 *addresses = addresses_of(x, instruction.operands[1]);
    const Words words = words_of(x, instruction.operands[0], type, true);
    x.count_load(addresses, words.total_bytes());
    const bool extends = type.is_signed() && type.bits < 32;
    x.each([&](int lane) {
        const u64 address = addresses[lane];
        x.check_alignment(address, words.total_bytes(), lane);
        for (int i = 0; i < words.count; i++) {
            x.check_load(address + i * words.bytes, words.bytes, lane);
        }
        for (int i = 0; i < words.count; i++) {
            const u64 value = x.load(address + i * words.bytes, words.bytes, lane);
            if (words.rows[i]) {
                words.rows[i][lane] = extends ? static_cast<u32>(extend(value, type)) : value;
            }
        }
    });
}

void store_vector(Execution &x) {
    const Instruction &instruction = *x.instruction;
    const u64 *addresses = addresses_of(x, instruction.operands[0]);
    const Words words = words_of(x, instruction.operands[1], instruction.types.back(), false);
    x.count_store(addresses, words.total_bytes());
    x.each([&](int lane) {
        x.check_alignment(addresses[lane], words.total_bytes(), lane);
        for (int i = 0; i < words.count; i++) {
            const u64 address = addresses[lane] + i * words.bytes;
            x.check_store(address, words.bytes, lane);
            x.store(address, words.rows[i][lane], words.bytes, lane);
        }
    });
}

Handler select_load(const Instruction &instruction) {
    const Type type = instruction.last_type();
    if (instruction.operands.size() < 2 || !instruction.operands[1].is(OperandKind::kMemory)) {
        return nullptr;
    }
    if (instruction.operands[0].is(OperandKind::kVector) || type.bits == 128) {
        return load_vector;
    }
    switch (type.bytes()) {
        case 1:
            return type.is_signed() ? load<1, true> : load<1, false>;
        case 2:
            return type.is_signed() ? load<2, true> : load<2, false>;
        case 4:
            return type.is_signed() ? load<4, true> : load<4, false>;
        case 8:
            return load<8, false>;
        default:
            return nullptr;
    }
}

Handler select_store(const Instruction &instruction) {
    const Type type = instruction.last_type();
    if (instruction.operands.size() < 2 || !instruction.operands[0].is(OperandKind::kMemory)) {
        return nullptr;
    }
    if (instruction.operands[1].is(OperandKind::kVector) || type.bits == 128) {
        return store_vector;
    }
    switch (type.bytes()) {
        case 1:
            return store<1>;
        case 2:
            return store<2>;
        case 4:
            return store<4>;
        case 8:
            return store<8>;
        default:
            return nullptr;
    }
}

}  // namespace

Handler select_load_store(Instruction &instruction) {
    if (instruction.opcode == "ld" || instruction.opcode == "ldu") {
        return select_load(instruction);
    }
    const bool is_plain_store = instruction.opcode == "st" && !instruction.has("async") && !instruction.has("bulk");
    return is_plain_store ? select_store(instruction) : nullptr;
}

}  // namespace cuda_emulator
