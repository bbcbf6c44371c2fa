#pragma once
#include <cstring>

#include "execution/block.h"
#include "execution/dependence.h"
#include "memory/address_space.h"

namespace cuda_emulator {

inline u64 read_memory(u64 address, u32 bytes) {
    u64 value = 0;
    std::memcpy(&value, reinterpret_cast<const void *>(address), bytes);
    return value;
}

inline void write_memory(u64 address, u64 value, u32 bytes) {
    std::memcpy(reinterpret_cast<void *>(address), &value, bytes);
}

/// An instruction and the warp that executes it: the argument of handlers.
struct Execution {
    Block &block;
    Warp &warp;
    const Instruction *instruction = nullptr;
    u32 active = 0;  ///< mask of the lanes that execute it

    Execution(Block &block, Warp &warp);
    Execution(const Execution &) = delete;

    void start(const Instruction &next, u32 lanes) {
        instruction = &next;
        active = lanes;
        scratch_used_ = 0;
    }
    template <class Function>
    void each(Function function) {
        for_lanes(active, function);
    }
    int first_lane() const { return lowest_lane(active); }

    // --- Operands, as a value for each lane -----------------------------------------------------------------------
    /// The type is needed for literals and negation.
    u64 *source(const Operand &operand, Type type = kBits64) {
        if (operand.is(OperandKind::kRegister) && !operand.negated) {
            return warp.row(operand.reg);
        }
        if (operand.is(OperandKind::kImmediate) && !operand.negated && !operand.is_float) {
            return operand.lanes->data();
        }
        return computed_source(operand, type);
    }
    u64 *source(int index, Type type = kBits64) { return source(instruction->operands[index], type); }
    u64 *destination(const Operand &operand) {
        if (operand.is(OperandKind::kRegister)) {
            return warp.row(operand.reg);
        }
        if (operand.is(OperandKind::kNone)) {
            return scratch();
        }
        throw Error("bad destination operand");
    }
    u64 *destination(int index = 0) { return destination(instruction->operands[index]); }
    /// q of "p|q", null if there is none.
    u64 *second_destination() {
        const Operand &first = instruction->operands[0];
        return first.parts.empty() ? nullptr : destination(first.parts[0]);
    }
    /// Scratch values of one instruction; there are sixteen rows.
    u64 *scratch() { return scratch_[scratch_used_++ % kScratch]; }

    // --- Memory ---------------------------------------------------------------------------------------------------
    /// A lane's access, after its check. They differ from read_memory() and write_memory() in global memory only.
    u64 load(u64 address, u32 bytes, int lane) {
        return block.visibility && is_global(address) ? load_visible(address, bytes, lane)
                                                      : read_memory(address, bytes);
    }
    void store(u64 address, u64 value, u32 bytes, int lane) {
        if (block.visibility && is_global(address)) {
            store_visible(address, value, bytes, lane);
        } else {
            write_memory(address, value, bytes);
        }
    }
    /// A fence of the active lanes: lets later strong stores publish what they have stored, and them see what others
    /// have published.
    void release();
    void acquire();

    /// Checks a lane's memory access: bounds, alignment (to `bytes`, a power of two), races, and order of kernels.
    void check_load(u64 address, u32 bytes, int lane) {
        check_bounds(address, bytes, lane);
        check_race(address, bytes, lane, false);
        check_order(address, bytes, lane, false);
    }
    void check_store(u64 address, u32 bytes, int lane) {
        check_bounds(address, bytes, lane);
        check_race(address, bytes, lane, true);
        check_order(address, bytes, lane, true);
    }
    /// The same without races in shared memory.
    void check_atomic(u64 address, u32 bytes, int lane) {
        check_bounds(address, bytes, lane);
        check_order(address, bytes, lane, true);
    }
    void check_bounds(u64 address, u32 bytes, int lane) {
        if (address & (bytes - 1)) {
            address_fault(lane, "misaligned", address);
        }
        u64 start;
        if (shared_.contains(address, bytes) || parameters_.contains(address, bytes) ||
            (!is_local(address) && memory::in_range(address, bytes, start))) {
            return;
        }
        check_local(address, bytes, lane);
    }
    void check_alignment(u64 address, u32 bytes, int lane) {
        if (address % bytes) {
            address_fault(lane, "misaligned", address);
        }
    }
    bool is_global(u64 address) const {
        return !memory::is_shared(address) && !memory::is_parameter(address) && !is_local(address);
    }
    bool is_local(u64 address) const { return address - reinterpret_cast<u64>(warp.local.data()) < warp.local.size(); }

    // --- Statistics: the lanes' addresses and the bytes of each ---------------------------------------------------
    void count_load(const u64 *addresses, u32 bytes) { count_access(addresses, bytes, false); }
    void count_store(const u64 *addresses, u32 bytes) { count_access(addresses, bytes, true); }
    void count_access(const u64 *addresses, u32 bytes, bool store) {
        if (block.statistics) {
            count_traffic(addresses, bytes, store);
        }
    }
    void count_atomics(const u64 *addresses);

    // --- Errors, which end the launch -----------------------------------------------------------------------------
    [[noreturn]] void fault(int lane, const std::string &what);
    [[noreturn]] void address_fault(int lane, const char *what, u64 address);

  private:
    u64 *computed_source(const Operand &operand, Type type);
    u64 *special_register(int which);
    void check_local(u64 address, u32 bytes, int lane);
    void check_race(u64 address, u32 bytes, int lane, bool store) {
        if (!block.warp_tags.written.empty()) {
            check_race_tags(address, bytes, lane, store);
        }
    }
    void check_race_tags(u64 address, u32 bytes, int lane, bool store);
    void check_order(u64 address, u32 bytes, int lane, bool store) {
        if (block.chained && is_global(address)) {
            check_chain(address, bytes, lane, store);
        }
    }
    void check_chain(u64 address, u32 bytes, int lane, bool store);
    Visibility::Step step_of(int lane) const {
        return {static_cast<u32>(warp.index * kWarp + lane), warp.index, block.epoch, warp.barriers};
    }
    u64 load_visible(u64 address, u32 bytes, int lane);
    void store_visible(u64 address, u64 value, u32 bytes, int lane);
    void count_traffic(const u64 *addresses, u32 bytes, bool store);

    static constexpr unsigned kScratch = 16;
    u64 scratch_[kScratch][kWarp];
    unsigned scratch_used_ = 0;
    memory::Range shared_, parameters_;
};

/// Runs a kernel to its end. Throws Error for faults that a GPU would have, and for unsupported instructions.
void launch(Module &module, const std::string &name, const u32 grid[3], const u32 block[3], const u8 *parameters,
            u32 dynamic_shared, LaunchOrder order = LaunchOrder::kUnchained);

/// Warp instructions issued by all launches.
extern u64 issued_instructions;

/// "block(0,0,0) thread(1,0,0)"
std::string lane_position(const Block &block, const Warp &warp, int lane);

}  // namespace cuda_emulator
