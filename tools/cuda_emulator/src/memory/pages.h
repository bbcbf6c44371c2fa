#pragma once
#include <memory>
#include <unordered_map>

#include "numbers/type.h"

namespace cuda_emulator::memory {

constexpr u64 kPageBytes = 4096;

inline u64 place_in_page(u64 address) {
    return address % kPageBytes;
}

/// What is known about the bytes of memory, in pages that are made when they are needed.
template <class Page>
class Pages {
  public:
    /// Null if the page was not made. Aligned accesses of up to 16 bytes lie in one page.
    Page *find(u64 address) {
        const u64 index = address / kPageBytes;
        if (index != last_index_) {
            const auto found = pages_.find(index);
            if (found == pages_.end()) {
                return nullptr;
            }
            last_index_ = index;
            last_ = found->second.get();
        }
        return last_;
    }
    /// Calls prepare(page, start) for a new one.
    template <class Prepare>
    Page &make(u64 address, Prepare prepare) {
        if (Page *found = find(address)) {
            return *found;
        }
        auto page = std::make_unique<Page>();
        prepare(*page, address / kPageBytes * kPageBytes);
        return *pages_.emplace(address / kPageBytes, std::move(page)).first->second;
    }
    template <class Function>
    void for_each(Function function) {
        for (auto &[index, page] : pages_) {
            function(index * kPageBytes, *page);
        }
    }
    void clear() {
        pages_.clear();
        last_index_ = ~u64(0);
    }

  private:
    std::unordered_map<u64, std::unique_ptr<Page>> pages_;
    u64 last_index_ = ~u64(0);
    Page *last_ = nullptr;
};

}  // namespace cuda_emulator::memory
