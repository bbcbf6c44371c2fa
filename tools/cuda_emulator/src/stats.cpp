#include "stats.h"
#include <map>
#include <mutex>

namespace cuda_emulator {
namespace stats {
namespace {
struct State {
  bool on = false, trace = false;
  string file;                                     // empty: table on stderr
  std::map<string, KernelStats> kernels;
  bool reported = false;
  State() {
    const char* e = getenv("CUDA_EMULATOR_STATS");
    if (!e || !*e || !strcmp(e, "0")) return;
    on = true;
    if (!strcmp(e, "trace")) trace = true;
    else if (strcmp(e, "1")) { file = e; if (file.rfind("trace:", 0) == 0) { trace = true; file = file.substr(6); } }
    atexit([] { report(); });
  }
};
State& state() { static State* s = new State; return *s; }   // never destroyed: used from atexit

struct Field { const char* name; u64 value; };
vector<Field> fields(const KernelStats& k) {
  return {
    {"launches", k.launches}, {"blocks", k.blocks}, {"threads", k.threads}, {"thread_inst", k.threadInst}, {"warp_inst", k.warpInst},
    {"branches", k.branches}, {"divergent_branches", k.divergentBranches},
    {"int_inst", k.byClass[IC_INT]}, {"fp16_inst", k.byClass[IC_FP16]}, {"fp32_inst", k.byClass[IC_FP32]}, {"fp64_inst", k.byClass[IC_FP64]}, {"special_inst", k.byClass[IC_SPECIAL]},
    {"global_load_requests", k.globalLoad.requests}, {"global_load_bytes", k.globalLoad.bytes}, {"global_load_sectors", k.globalLoad.sectors},
    {"global_store_requests", k.globalStore.requests}, {"global_store_bytes", k.globalStore.bytes}, {"global_store_sectors", k.globalStore.sectors},
    {"shared_load_requests", k.sharedLoad.requests}, {"shared_load_bytes", k.sharedLoad.bytes},
    {"shared_load_wavefronts", k.sharedLoad.wavefronts}, {"shared_load_conflict_extra", k.sharedLoad.conflicts},
    {"shared_store_requests", k.sharedStore.requests}, {"shared_store_bytes", k.sharedStore.bytes},
    {"shared_store_wavefronts", k.sharedStore.wavefronts}, {"shared_store_conflict_extra", k.sharedStore.conflicts},
    {"local_load_requests", k.localLoad.requests}, {"local_load_bytes", k.localLoad.bytes},
    {"local_store_requests", k.localStore.requests}, {"local_store_bytes", k.localStore.bytes},
    {"barriers", k.barriers}, {"warp_syncs", k.warpSyncs},
    {"global_atomics", k.globalAtomics}, {"global_atomic_same_address_extra", k.globalAtomicSerial},
    {"shared_atomics", k.sharedAtomics}, {"shared_atomic_same_address_extra", k.sharedAtomicSerial},
    {"mma_inst", k.mma}, {"mma_flops", k.mmaFlops},
    {"max_shared_bytes_per_block", k.sharedBytes}, {"local_bytes_per_thread", k.localBytes}};
}
string escaped(const string& s) { string o; for (char c : s) { if (c == '"' || c == '\\') o += '\\'; o += c; } return o; }
}  // namespace

bool enabled() { return state().on; }
bool tracing() { return state().trace; }
KernelStats& forKernel(const string& name) { state().reported = false; return state().kernels[name]; }
void reset() { state().kernels.clear(); }

void trace(const string& n, const u32 g[3], const u32 b[3], u32 smem) {
  fprintf(stderr, "cuda_emulator: launch %s grid=(%u,%u,%u) block=(%u,%u,%u) dynamic_smem=%u\n", n.c_str(), g[0], g[1], g[2], b[0], b[1], b[2], smem);
}

string json() {
  string o = "{\n";
  bool first = true;
  for (auto& k : state().kernels) {
    o += string(first ? "" : ",\n") + "  \"" + escaped(k.first) + "\": {";
    bool f2 = true;
    for (auto& f : fields(k.second)) { o += string(f2 ? "" : ", ") + "\"" + f.name + "\": " + std::to_string(f.value); f2 = false; }
    o += "}";
    first = false;
  }
  return o + "\n}\n";
}

void report() {
  State& s = state();
  if (!s.on || s.reported || s.kernels.empty()) return;
  s.reported = true;
  if (s.file.size()) {
    FILE* f = fopen(s.file.c_str(), "w");
    if (!f) { fprintf(stderr, "cuda_emulator: cannot write %s\n", s.file.c_str()); return; }
    fputs(json().c_str(), f);
    fclose(f);
    return;
  }
  for (auto& kv : s.kernels) {
    const KernelStats& k = kv.second;
    typedef unsigned long long ull;
    auto eff = [](const Traffic& t) { return t.sectors ? 100.0 * t.bytes / (32.0 * t.sectors) : 0.0; };
    fprintf(stderr, "cuda_emulator stats: %s\n", kv.first.c_str());
    fprintf(stderr, "  launches %llu, blocks %llu, threads %llu, shared bytes/block (max) %u, local bytes/thread %u\n", (ull)k.launches, (ull)k.blocks, (ull)k.threads, k.sharedBytes, k.localBytes);
    fprintf(stderr, "  instructions: %llu thread, %llu warp (%.1f active lanes); branches %llu, divergent %llu\n", (ull)k.threadInst, (ull)k.warpInst, k.warpInst ? (double)k.threadInst / k.warpInst : 0.0, (ull)k.branches, (ull)k.divergentBranches);
    fprintf(stderr, "  arithmetic (thread): int %llu, fp16 %llu, fp32 %llu, fp64 %llu, special %llu; mma %llu (%llu flops)\n", (ull)k.byClass[IC_INT], (ull)k.byClass[IC_FP16], (ull)k.byClass[IC_FP32], (ull)k.byClass[IC_FP64], (ull)k.byClass[IC_SPECIAL], (ull)k.mma, (ull)k.mmaFlops);
    fprintf(stderr, "  global load : %llu requests, %llu bytes, %llu sectors (%.0f%% requested/fetched)\n", (ull)k.globalLoad.requests, (ull)k.globalLoad.bytes, (ull)k.globalLoad.sectors, eff(k.globalLoad));
    fprintf(stderr, "  global store: %llu requests, %llu bytes, %llu sectors (%.0f%% requested/fetched)\n", (ull)k.globalStore.requests, (ull)k.globalStore.bytes, (ull)k.globalStore.sectors, eff(k.globalStore));
    fprintf(stderr, "  shared load : %llu requests, %llu bytes, %llu wavefronts, %llu from bank conflicts\n", (ull)k.sharedLoad.requests, (ull)k.sharedLoad.bytes, (ull)k.sharedLoad.wavefronts, (ull)k.sharedLoad.conflicts);
    fprintf(stderr, "  shared store: %llu requests, %llu bytes, %llu wavefronts, %llu from bank conflicts\n", (ull)k.sharedStore.requests, (ull)k.sharedStore.bytes, (ull)k.sharedStore.wavefronts, (ull)k.sharedStore.conflicts);
    fprintf(stderr, "  local: %llu load requests (%llu bytes), %llu store requests (%llu bytes)\n", (ull)k.localLoad.requests, (ull)k.localLoad.bytes, (ull)k.localStore.requests, (ull)k.localStore.bytes);
    fprintf(stderr, "  barriers (warp arrivals) %llu, warp syncs %llu; atomics: global %llu (same-address extra %llu), shared %llu (extra %llu)\n", (ull)k.barriers, (ull)k.warpSyncs, (ull)k.globalAtomics, (ull)k.globalAtomicSerial, (ull)k.sharedAtomics, (ull)k.sharedAtomicSerial);
  }
}
}  // namespace stats
}  // namespace cuda_emulator
