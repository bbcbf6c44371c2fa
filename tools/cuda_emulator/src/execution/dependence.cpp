#include "execution/dependence.h"

namespace cuda_emulator {
namespace {

constexpr u8 kRead = 1, kWritten = 2;

}  // namespace

Dependence dependence;

void Dependence::start_launch(LaunchOrder order) {
    dependent_ = order == LaunchOrder::kDependent;
    waited = false;
    own_.clear();
    if (!dependent_) {
        earlier_.clear();
    }
}

void Dependence::end_launch() {
    own_.for_each([&](u64 start, const Page &page) {
        Page &all = earlier_.make(start, [](Page &, u64) {});
        for (u64 i = 0; i < memory::kPageBytes; i++) {
            all.accesses[i] |= page.accesses[i];
        }
    });
    own_.clear();
}

void Dependence::clear() {
    earlier_.clear();
    own_.clear();
}

bool Dependence::conflicts(u64 address, u32 bytes, bool store) {
    Page *page = earlier_.find(address);
    u8 found = 0;
    for (u32 i = 0; page && i < bytes; i++) {
        found |= page->accesses[memory::place_in_page(address) + i];
    }
    return found & (store ? kRead | kWritten : kWritten);
}

void Dependence::note(u64 address, u32 bytes, bool store) {
    Page &page = own_.make(address, [](Page &, u64) {});
    for (u32 i = 0; i < bytes; i++) {
        page.accesses[memory::place_in_page(address) + i] |= store ? kWritten : kRead;
    }
}

}  // namespace cuda_emulator
