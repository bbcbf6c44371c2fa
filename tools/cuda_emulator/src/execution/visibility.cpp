#include "execution/visibility.h"

#include <cstring>

namespace cuda_emulator {
namespace {

u8 *bytes_at(u64 address) {
    return reinterpret_cast<u8 *>(address);
}

/// Calls take(store), and removes the stores for which it is true.
template <class Store, class Take>
void take_from(std::vector<Store> &stores, Take take) {
    size_t kept = 0;
    for (const Store &each : stores) {
        if (!take(each)) {
            stores[kept++] = each;
        }
    }
    stores.resize(kept);
}

}  // namespace

void Visibility::start_block() {
    block_++;
    pending_.clear();
    fenced_.clear();
}

u64 Visibility::read(u64 address, u32 bytes, bool fresh) {
    u64 value = 0;
    u8 *result = reinterpret_cast<u8 *>(&value);
    std::memcpy(result, bytes_at(address), bytes);
    if (Page *page = pages_.find(address)) {
        const u64 first = memory::place_in_page(address);
        for (u32 i = 0; i < bytes; i++) {
            const u32 writer = page->writer[first + i];
            if (writer != 0 && writer != block_) {
                result[i] = (fresh ? page->published : page->before)[first + i];
            }
        }
    }
    return value;
}

void Visibility::write(u64 address, u64 value, u32 bytes) {
    Page &page = pages_.make(address, [](Page &page, u64 start) {
        std::memcpy(page.before, bytes_at(start), memory::kPageBytes);
        std::memcpy(page.published, bytes_at(start), memory::kPageBytes);
    });
    std::memcpy(bytes_at(address), &value, bytes);
    for (u32 i = 0; i < bytes; i++) {
        page.writer[memory::place_in_page(address) + i] = block_;
    }
}

void Visibility::store(u64 address, u64 value, u32 bytes, bool strong, const Step &step) {
    write(address, value, bytes);
    if (!strong) {
        pending_.push_back({address, bytes, step});
        return;
    }
    publish(address, bytes);
    take_from(fenced_, [&](const Store &fenced) {
        const bool before = fenced.step.is_before(step);
        if (before) {
            publish(fenced.address, fenced.bytes);
        }
        return before;
    });
}

void Visibility::fence(const Step &step, u32 lanes) {
    take_from(pending_, [&](const Store &stored) {
        Step by = step;
        if (stored.step.warp == step.warp && (lanes >> stored.step.thread % 32 & 1)) {
            by.thread = stored.step.thread;
        } else if (!stored.step.is_before(step)) {
            return false;
        }
        fenced_.push_back({stored.address, stored.bytes, by});
        return true;
    });
}

void Visibility::publish(u64 address, u32 bytes) {
    std::memcpy(pages_.find(address)->published + memory::place_in_page(address), bytes_at(address), bytes);
}

}  // namespace cuda_emulator
