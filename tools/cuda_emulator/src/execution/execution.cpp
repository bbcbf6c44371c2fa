#include "execution/execution.h"

#include <cstdio>

namespace cuda_emulator {

Execution::Execution(Block &block, Warp &warp) : block(block), warp(warp) {
    const u64 shared = memory::shared_base(), parameters = memory::parameter_base();
    shared_ = {shared, shared + block.shared_bytes};
    // Vector loads of the last parameter may read its padding.
    parameters_ = {parameters, parameters + block.function->parameter_bytes + 16};
}

u64 Execution::load_visible(u64 address, u32 bytes, int lane) {
    const bool strong = instruction->strong;
    warp.observed |= strong ? lane_bit(lane) : 0;
    return block.visibility->read(address, bytes, strong || (warp.fresh & lane_bit(lane)));
}

void Execution::store_visible(u64 address, u64 value, u32 bytes, int lane) {
    block.visibility->store(address, value, bytes, instruction->strong, step_of(lane));
}

void Execution::release() {
    if (block.visibility) {
        block.visibility->fence(step_of(first_lane()), active);
    }
}

void Execution::acquire() {
    warp.fresh |= warp.observed & active;
}

std::string lane_position(const Block &block, const Warp &warp, int lane) {
    const u32 thread = warp.index * kWarp + lane;
    char text[160];
    std::snprintf(text, sizeof(text), "block(%u,%u,%u) thread(%u,%u,%u)", block.index[0], block.index[1],
                  block.index[2], thread % block.size[0], thread / block.size[0] % block.size[1],
                  thread / block.size[0] / block.size[1]);
    return text;
}

void Execution::fault(int lane, const std::string &what) {
    throw Error(what + ", " + lane_position(block, warp, lane) + ", " +
                position(*block.module, *block.function, *instruction));
}

void Execution::address_fault(int lane, const char *what, u64 address) {
    char text[64];
    std::snprintf(text, sizeof(text), " address 0x%lx", address);
    fault(lane, what + std::string(text));
}

namespace {

u64 negate(u64 bits, Type type) {
    if (type.kind == Kind::kPredicate) {
        return !bits;
    }
    if (type.is_f32()) {
        return f32_bits(-f32_value(bits));
    }
    return type.is_f64() ? f64_bits(-f64_value(bits)) : 0 - bits;
}

/// The bits of a literal in an instruction's type; decimal literals are doubles in PTX.
u64 literal_bits(const Operand &operand, Type type) {
    if (!operand.is_float) {
        return operand.immediate;
    }
    const bool is_double = operand.float_bits == 64;
    if (type.is_f64()) {
        return is_double ? operand.immediate : f64_bits(f32_value(operand.immediate));
    }
    return is_double && type.bits == 32 ? f32_bits(static_cast<float>(f64_value(operand.immediate)))
                                        : operand.immediate;
}

}  // namespace

u64 *Execution::computed_source(const Operand &operand, Type type) {
    u64 *result = scratch();
    switch (operand.kind) {
        case OperandKind::kRegister: {
            const u64 *row = warp.row(operand.reg);
            for_lanes(kFullMask, [&](int lane) { result[lane] = negate(row[lane], type); });
            return result;
        }
        case OperandKind::kImmediate: {
            u64 bits = literal_bits(operand, type);
            if (bits == operand.immediate && !operand.negated) {
                return operand.lanes->data();
            }
            if (operand.negated) {
                bits = type.kind == Kind::kPredicate ? !bits : 0 - bits;
            }
            for_lanes(kFullMask, [&](int lane) { result[lane] = bits; });
            return result;
        }
        case OperandKind::kSpecialRegister:
            return special_register(operand.reg);
        case OperandKind::kLocal: {
            const u64 base = reinterpret_cast<u64>(warp.local.data()) + operand.immediate;
            const u64 stride = block.function->local_bytes;
            for_lanes(kFullMask, [&](int lane) { result[lane] = base + lane * stride; });
            return result;
        }
        case OperandKind::kSymbol:
            throw Error("unknown symbol " + operand.symbol + ", " +
                        position(*block.module, *block.function, *instruction));
        default:
            throw Error("bad operand, " + position(*block.module, *block.function, *instruction));
    }
}

u64 *Execution::special_register(int which) {
    if (which < kBlockSize) {
        return warp.thread_index[which];
    }
    if (which < kLane) {
        return block.uniform[which - kBlockSize];
    }
    u64 *result = scratch();
    for_lanes(kFullMask, [&](int lane) {
        const u64 above = u64(2) << lane;  // the bit of the next lane
        switch (which) {
            case kLane:
                result[lane] = lane;
                break;
            case kWarpIndex:
                result[lane] = warp.index;
                break;
            case kWarpCount:
                result[lane] = block.warps.size();
                break;
            case kLaneMaskEqual:
                result[lane] = lane_bit(lane);
                break;
            case kLaneMaskBelow:
                result[lane] = lane_bit(lane) - 1;
                break;
            case kLaneMaskUpTo:
                result[lane] = static_cast<u32>(above - 1);
                break;
            case kLaneMaskAbove:
                result[lane] = static_cast<u32>(~(above - 1));
                break;
            case kLaneMaskFrom:
                result[lane] = static_cast<u32>(~(lane_bit(lane) - 1));
                break;
            case kDynamicSharedBytes:
                result[lane] = block.dynamic_shared;
                break;
            case kTotalSharedBytes:
                result[lane] = block.shared_bytes;
                break;
            case kClock:
                result[lane] = issued_instructions;
                break;
            case kWarpSize:
                result[lane] = kWarp;
                break;
            case kOne:
                result[lane] = 1;
                break;
            default:
                result[lane] = 0;
        }
    });
    return result;
}

}  // namespace cuda_emulator
