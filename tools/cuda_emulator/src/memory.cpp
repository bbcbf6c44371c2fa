#include "memory.h"
#include <map>
#include <sys/mman.h>

namespace cuda_emulator { namespace mem {
namespace {
std::map<u64, u64> regions;            // start -> end
std::map<u64, u64> allocs;             // start -> size, allocations made by allocGlobal
u64 total = 0;
bool checking = false;

u8* mapLow(size_t n) {
  void* p = mmap(0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  if (p == MAP_FAILED) throw Error("cannot map shared memory below 4 GiB");
  return (u8*)p;
}
}  // namespace

u64 lastLo = 1, lastHi = 0;

u64 sharedBase() { static u64 b = (u64)mapLow(kSharedWindow); return b; }
u64 paramBase() { static u64 b = (u64)mapLow(kParamMax + 4096); return b; }

u64 allocGlobal(size_t n, int fill) {
  size_t padded = (n + 511) / 256 * 256;
  u8* a = (u8*)aligned_alloc(256, padded);
  if (!a) return 0;
  memset(a, fill, padded);
  allocs[(u64)a] = n;
  total += n;
  addRegion((u64)a, n);
  return (u64)a;
}
bool freeGlobal(u64 a) {
  auto it = allocs.find(a);
  if (it == allocs.end()) return false;
  total -= it->second;
  allocs.erase(it);
  removeRegion(a);
  free((void*)a);
  return true;
}
bool findAlloc(u64 a, u64& lo, u64& size) {
  auto it = allocs.upper_bound(a);
  if (it == allocs.begin()) return false;
  --it;
  if (a >= it->first + std::max<u64>(it->second, 1)) return false;
  lo = it->first;
  size = it->second;
  return true;
}
u64 bytesAllocated() { return total; }

void addRegion(u64 lo, u64 n) { regions[lo] = lo + n; lastLo = 1; lastHi = 0; }
void removeRegion(u64 lo) { regions.erase(lo); lastLo = 1; lastHi = 0; }
void enableChecks() { checking = true; }
bool checksEnabled() { return checking; }

bool findRegion(u64 a, u32 n, u64& lo) {
  auto it = regions.upper_bound(a);
  if (it == regions.begin()) return false;
  --it;
  if (a + n > it->second) return false;
  lo = lastLo = it->first;
  lastHi = it->second;
  return true;
}
}}  // namespace cuda_emulator::mem
