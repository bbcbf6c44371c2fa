// C interface used by the Python module.
#include "exec.h"

using namespace cuda_emulator;
static string g_error;

extern "C" {
const char* cuda_emulator_error() { return g_error.c_str(); }
void* cuda_emulator_load(const char* ptx) {
  try { return parseModule(ptx).release(); } catch (std::exception& e) { g_error = e.what(); return nullptr; }
}
void cuda_emulator_unload(void* m) { delete (Module*)m; }
int cuda_emulator_launch(void* m, const char* name, const u32* grid, const u32* block, const u8* params, u32 smem) {
  try { launch(*(Module*)m, name, grid, block, params, smem); return 0; } catch (std::exception& e) { g_error = e.what(); return 1; }
}
u64 cuda_emulator_symbol(void* m, const char* n) {
  auto& g = ((Module*)m)->globals;
  auto f = g.find(n);
  return f == g.end() ? 0 : f->second;
}
// Sizes and alignments of the parameters; returns their number or -1.
int cuda_emulator_params(void* m, const char* name, int* size, int* align, int max) {
  auto& fs = ((Module*)m)->functions;
  auto f = fs.find(name);
  if (f == fs.end()) return -1;
  int i = 0;
  for (auto& p : f->second.params) { if (i < max) { size[i] = std::max(1, p.size); align[i] = p.align; } i++; }
  return i;
}
void cuda_emulator_region(u64 lo, u64 n, int on) {
  mem::enableChecks();
  if (on) mem::addRegion(lo, n); else mem::removeRegion(lo);
}
// Every instruction of the kernels that would raise when executed, one per line.
const char* cuda_emulator_unsupported(void* m) {
  static string s;
  s.clear();
  Module& M = *(Module*)m;
  for (auto& f : M.functions)
    if (f.second.entry) for (auto& I : f.second.code) if (!supported(I)) s += position(M, f.second, I) + (I.why.size() ? "  [" + I.why + "]" : "") + "\n";
  return s.c_str();
}
u64 cuda_emulator_ninst() { return g_warpInst; }
const char* cuda_emulator_stats_json() { static string s; s = stats::json(); return s.c_str(); }
void cuda_emulator_stats_reset() { stats::reset(); }
void cuda_emulator_stats_report() { stats::report(); }
}
