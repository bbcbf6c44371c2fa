#include "instructions/handlers.h"
#include "instructions/memory/atomic_operation.h"
#include "instructions/values.h"

// Operations between the lanes of a mask.

namespace cuda_emulator {
namespace {

/// A copy of a source, because the destination may be the same register.
struct Lanes {
    u64 values[kWarp];

    Lanes(Execution &x, int operand) { std::memcpy(values, x.source(operand), sizeof(values)); }
    u64 operator[](int lane) const { return values[lane]; }
};

enum Shuffle { kUp, kDown, kButterfly, kIndex };

/// Operand c of shfl: the segment mask and the clamp value.
void shuffle(Execution &x) {
    const int mode = x.instruction->mode;
    const Lanes values(x, 1), by(x, 2), clamps(x, 3);
    u64 *result = x.destination(), *predicate = x.second_destination();
    x.each([&](int lane) {
        const int distance = by[lane] & 31, clamp = clamps[lane] & 31, segments = clamps[lane] >> 8 & 31;
        const int lowest = lane & segments, limit = lowest | (clamp & ~segments);
        int from;
        switch (mode) {
            case kUp:
                from = lane - distance;
                break;
            case kDown:
                from = lane + distance;
                break;
            case kButterfly:
                from = lane ^ distance;
                break;
            default:
                from = lowest | (distance & ~segments);
        }
        const bool in_reach = mode == kUp ? from >= limit : from <= limit;
        if (!in_reach) {
            from = lane;
        }
        // Undefined on a GPU if the source lane does not take part.
        result[lane] = x.active & lane_bit(from) ? static_cast<u32>(values[from]) : 0;
        if (predicate) {
            predicate[lane] = in_reach;
        }
    });
}

void vote(Execution &x) {
    const Instruction &instruction = *x.instruction;
    const u64 *predicate = x.source(1, kPredicate);
    u32 ballot = 0;
    x.each([&](int lane) { ballot |= predicate[lane] ? lane_bit(lane) : 0; });
    u64 outcome = ballot;
    if (instruction.has("all")) {
        outcome = ballot == x.active;
    } else if (instruction.has("any")) {
        outcome = ballot != 0;
    } else if (instruction.has("uni")) {
        outcome = ballot == x.active || ballot == 0;
    }
    u64 *result = x.destination();
    x.each([&](int lane) { result[lane] = outcome; });
}

void match(Execution &x) {
    const bool all = x.instruction->has("all");
    const int bits = x.instruction->types.back().bits;
    const Lanes values(x, 1);
    u64 equal[kWarp];
    bool same = true;
    x.each([&](int lane) {
        u32 lanes = 0;
        x.each([&](int other) {
            lanes |= mask_to(values[other], bits) == mask_to(values[lane], bits) ? lane_bit(other) : 0;
        });
        equal[lane] = lanes;
        same &= lanes == x.active;
    });
    u64 *result = x.destination(), *predicate = x.second_destination();
    x.each([&](int lane) {
        result[lane] = all ? (same ? x.active : 0) : equal[lane];
        if (predicate) {
            predicate[lane] = same;
        }
    });
}

void reduce(Execution &x) {  // redux
    const Instruction &instruction = *x.instruction;
    const Type type = instruction.types.back();
    const bool magnitudes = instruction.has("abs"), is_max = instruction.mode == kAtomicMax;
    const Lanes values(x, 1);
    const auto combine_floats = [&](u64 a, u64 b) -> u64 {
        const float result = min_max(f32_value(a), f32_value(b), is_max, instruction.propagate_nan);
        return result != result ? kFloatNan : f32_bits(result);
    };
    u64 combined = 0;
    bool first = true;
    x.each([&](int lane) {
        const u64 value = type.is_f32() && magnitudes ? values[lane] & 0x7fffffff : values[lane];
        if (first) {
            combined = value;
        } else {
            combined =
                type.is_f32() ? combine_floats(combined, value) : apply_atomic(instruction.mode, type, combined, value);
        }
        first = false;
    });
    u64 *result = x.destination();
    x.each([&](int lane) { result[lane] = mask_to(combined, type.bits); });
}

void elect(Execution &x) {  // the lowest lane
    const int leader = x.first_lane();
    u64 *result = x.destination(), *predicate = x.second_destination();
    x.each([&](int lane) {
        result[lane] = leader;
        if (predicate) {
            predicate[lane] = lane == leader;
        }
    });
}

}  // namespace

Handler select_warp_operation(Instruction &instruction) {
    const std::string &opcode = instruction.opcode;
    if (opcode == "shfl") {
        if (!instruction.has("sync")) {
            instruction.refusal = "shfl without .sync";
            return nullptr;
        }
        instruction.mode = instruction.has("up")     ? kUp
                           : instruction.has("down") ? kDown
                           : instruction.has("bfly") ? kButterfly
                                                     : kIndex;
        return shuffle;
    }
    if (opcode == "vote") {
        return instruction.has("sync") ? vote : nullptr;
    }
    if (opcode == "match") {
        return match;
    }
    if (opcode == "redux") {
        instruction.mode = atomic_operation_of(instruction);
        return instruction.mode == kNoAtomicOperation ? nullptr : reduce;
    }
    return opcode == "elect" ? elect : nullptr;
}

}  // namespace cuda_emulator
