// Address spaces. Device pointers are host pointers; the shared-memory window is mapped below 4 GiB so that the
// 32-bit shared addresses found in PTX are valid host addresses too. Blocks run one after another and share the window.
#pragma once
#include "base.h"

namespace cuda_emulator { namespace mem {
const u32 kSharedMax = 227 * 1024;     // largest block allocation (static + dynamic)
const u32 kSharedWindow = 1 << 20;
const u32 kParamMax = 32764 + 64;

u64 sharedBase();
u64 paramBase();

u64 allocGlobal(size_t n, int fill);   // 256-byte aligned, registered; 0 when out of memory
bool freeGlobal(u64 a);
bool findAlloc(u64 a, u64& lo, u64& size);
u64 bytesAllocated();

// Valid global ranges. Once any range was registered by a caller, every global access is checked.
void addRegion(u64 lo, u64 n);
void removeRegion(u64 lo);
void enableChecks();
// True when [a, a+n) is inside a known region; `lo` receives the region start.
bool findRegion(u64 a, u32 n, u64& lo);
extern u64 lastLo, lastHi;             // most recently hit region
inline bool inRegion(u64 a, u32 n, u64& lo) {
  if (a >= lastLo && a + n <= lastHi) { lo = lastLo; return true; }
  return findRegion(a, n, lo);
}
bool checksEnabled();
}}  // namespace cuda_emulator::mem
