// Stand-in libcudart.so.13: programs and libraries built by nvcc with -cudart shared --no-compress and embedded PTX run
// on the interpreter. Everything is synchronous; streams only matter for graph capture.
#include "exec.h"
#include <algorithm>
#include <chrono>
#include <cuda_runtime_api.h>
#include <functional>
#include <mutex>
#include <set>

using namespace cuda_emulator;
#define API extern "C" __attribute__((visibility("default")))

namespace {
typedef cudaError_t Err;
std::recursive_mutex lock_;
typedef std::lock_guard<std::recursive_mutex> Guard;
thread_local Err lastError = cudaSuccess;
Err pendingFault = cudaSuccess;          // kernel fault not yet reported by a synchronising call
Err stickyFault = cudaSuccess;           // CUDA_EMULATOR_STICKY=1: as on a GPU, a fault poisons the process

Err fail(Err e) { if (e != cudaErrorNotReady) lastError = e; return e; }
bool envSet(const char* n) { const char* e = getenv(n); return e && *e && strcmp(e, "0"); }
int envInt(const char* n, int dflt) { const char* e = getenv(n); return e && *e ? atoi(e) : dflt; }
int computeCapability() { int c = envInt("CUDA_EMULATOR_CC", 89); return c; }
u32 smemOptin() { return (u32)std::min(227, envInt("CUDA_EMULATOR_SMEM_OPTIN", 227)) * 1024; }
int smCount() { return envInt("CUDA_EMULATOR_SMS", 24); }

// --- fat binaries ------------------------------------------------------------------------------------------
struct Fat {
  string ptx;
  int arch = 0;
  std::unique_ptr<Module> mod;
  bool tried = false;
};
struct Kernel { Fat* fat; string name; u32 maxDynamic = 48 * 1024; bool optedIn = false; };
struct HostVar { Fat* fat; string name; size_t size; };
std::map<const void*, Kernel> kernels;
std::map<const void*, HostVar> hostVars;
struct CallConfig { dim3 g, b; size_t smem; cudaStream_t st; };
thread_local vector<CallConfig> callConfigs;

Module* moduleOf(Fat* f) {
  if (!f->tried) {
    f->tried = true;
    if (f->ptx.empty()) fprintf(stderr, "cuda_emulator: no usable PTX in the program; build with e.g. -gencode arch=compute_80,code=compute_80 --no-compress\n");
    else try { f->mod = parseModule(f->ptx); } catch (std::exception& e) { fprintf(stderr, "cuda_emulator: cannot load PTX: %s\n", e.what()); }
    mem::enableChecks();
  }
  return f->mod.get();
}

// --- streams, events, graphs ----------------------------------------------------------------------------------
typedef std::function<Err()> Node;
struct Graph { vector<Node> nodes; vector<cudaGraphNodeType> types; };
struct Capture {                          // one capture session; several streams may have joined it
  Graph* graph;
  cudaStreamCaptureMode mode;
  struct Stream* origin;
  bool invalid = false;
  unsigned long long id;
};
struct Stream { Capture* cap = nullptr; u64 seq = 0; bool joined = true; unsigned flags = 0; int priority = 0; };
struct Event { double ms = -1; Capture* cap = nullptr; Stream* stream = nullptr; u64 seq = 0; bool timing = true; };
std::set<Stream*> streams;
std::set<Capture*> captures;
Stream legacyStream;
unsigned long long nextCaptureId = 1;

Stream* streamOf(cudaStream_t s) {
  if (s == nullptr || s == cudaStreamLegacy || s == cudaStreamPerThread) return &legacyStream;
  return streams.count((Stream*)s) ? (Stream*)s : nullptr;
}
double nowMs() { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Calls CUDA forbids while a capture is active: the capture becomes invalid.
Err unsafeCall() {
  for (auto* c : captures)
    if (c->mode != cudaStreamCaptureModeRelaxed) { c->invalid = true; return fail(cudaErrorStreamCaptureUnsupported); }
  return cudaSuccess;
}
Err legacyImplicit() {                    // work on the legacy stream would depend on the capturing blocking streams
  Err e = cudaSuccess;
  for (auto* c : captures)
    if (!(c->origin->flags & cudaStreamNonBlocking)) { c->invalid = true; e = cudaErrorStreamCaptureImplicit; }
  return e ? fail(e) : e;
}
// Run now, or record into the graph of a capturing stream.
Err submit(cudaStream_t s, cudaGraphNodeType type, Node n) {
  Stream* st = streamOf(s);
  if (!st) return fail(cudaErrorInvalidResourceHandle);
  if (stickyFault) return fail(stickyFault);
  if (st->cap) {
    if (st->cap->invalid) return fail(cudaErrorStreamCaptureInvalidated);
    st->cap->graph->nodes.push_back(n);
    st->cap->graph->types.push_back(type);
    st->seq++;
    st->joined = st == st->cap->origin;
    return cudaSuccess;
  }
  if (st == &legacyStream) { Err e = legacyImplicit(); if (e) return e; }
  return n();
}
Err synchronise() {
  if (stickyFault) return fail(stickyFault);
  Err e = pendingFault;
  pendingFault = cudaSuccess;
  return e ? fail(e) : e;
}

// --- launches ---------------------------------------------------------------------------------------------------
Err runKernel(const Kernel& k, dim3 g, dim3 b, const vector<u8>& params, size_t smem) {
  Module* M = moduleOf(k.fat);
  u32 G[3] = {g.x, g.y, g.z}, B[3] = {b.x, b.y, b.z};
  try { launch(*M, k.name, G, B, params.data(), (u32)smem); }
  catch (std::exception& e) {
    fprintf(stderr, "cuda_emulator: %s: %s\n", k.name.c_str(), e.what());
    string w = e.what();
    Err r = w.find("device assert") == 0 ? cudaErrorAssert : w.find("misaligned") == 0 ? cudaErrorMisalignedAddress
          : w.find("unsupported PTX") == 0 ? cudaErrorIllegalInstruction : w.find("trap") == 0 ? cudaErrorLaunchFailure
          : w.find("ran over") != string::npos || w.find("deadlock") == 0 ? cudaErrorLaunchTimeout : cudaErrorIllegalAddress;
    pendingFault = r;
    if (envSet("CUDA_EMULATOR_STICKY")) stickyFault = r;
    return fail(r);
  }
  return cudaSuccess;
}
Err launchKernel(const void* fn, dim3 g, dim3 b, void** args, size_t smem, cudaStream_t s) {
  Guard l(lock_);
  auto it = kernels.find(fn);
  if (it == kernels.end()) return fail(cudaErrorInvalidDeviceFunction);
  Kernel& k = it->second;
  Module* M = moduleOf(k.fat);
  if (!M || !M->functions.count(k.name)) return fail(k.fat->ptx.empty() ? cudaErrorNoKernelImageForDevice : cudaErrorInvalidDeviceFunction);
  Function& F = M->functions[k.name];
  u64 nt = (u64)b.x * b.y * b.z;
  if (!nt || nt > 1024 || b.z > 64 || !g.x || !g.y || !g.z || g.y > 65535 || g.z > 65535 || g.x > 2147483647u) return fail(cudaErrorInvalidConfiguration);
  if (F.maxThreads && nt > F.maxThreads) return fail(cudaErrorInvalidValue);      // more than __launch_bounds__ allows
  link(*M, F);
  if (smem > k.maxDynamic || F.staticShared + smem > std::max(smemOptin(), F.staticShared)) return fail(cudaErrorInvalidValue);
  if (!k.optedIn && F.staticShared + smem > 48 * 1024 && smem) return fail(cudaErrorInvalidValue);
  vector<u8> pb(F.paramSize + 16);
  for (size_t i = 0; i < F.params.size(); i++) memcpy(&pb[F.paramOffset[i]], args[i], std::max(1, F.params[i].size));
  Kernel copy = k;
  return submit(s, cudaGraphNodeTypeKernel, [=] { return runKernel(copy, g, b, pb, smem); });
}

Err copyBytes(void* d, const void* s, size_t n) {
  if (n && (!d || !s)) return fail(cudaErrorInvalidValue);
  // a transfer that starts in a device allocation must stay inside it
  for (const void* p : {(const void*)d, s}) {
    u64 lo, size;
    if (mem::findAlloc((u64)p, lo, size) && (u64)p + n > lo + size) return fail(cudaErrorInvalidValue);
  }
  memmove(d, s, n);
  return cudaSuccess;
}
Err setBytes(void* d, int v, size_t n) {
  u64 lo, size;
  if (n && !mem::findAlloc((u64)d, lo, size)) return fail(cudaErrorInvalidValue);
  if (n && (u64)d + n > lo + size) return fail(cudaErrorInvalidValue);
  memset(d, v, n);
  return cudaSuccess;
}
struct MemKind { cudaMemoryType type; unsigned flags; };
std::map<u64, MemKind> memKinds;          // per allocation
std::map<u64, u64> registered;            // cudaHostRegister ranges

Err allocate(void** p, size_t n, cudaMemoryType t, unsigned flags = 0) {
  Guard l(lock_);
  if (!p) return fail(cudaErrorInvalidValue);
  *p = nullptr;
  if (stickyFault) return fail(stickyFault);
  if (!n) return cudaSuccess;
  u64 limit = (u64)envInt("CUDA_EMULATOR_MEM_MB", 8192) << 20;
  if (mem::bytesAllocated() + n > limit) return fail(cudaErrorMemoryAllocation);
  u64 a = mem::allocGlobal(n, 0xCD);
  if (!a) return fail(cudaErrorMemoryAllocation);
  mem::enableChecks();
  memKinds[a] = {t, flags};
  *p = (void*)a;
  return cudaSuccess;
}
Err release(void* p, bool host) {
  Guard l(lock_);
  if (stickyFault) return fail(stickyFault);
  if (!p) return cudaSuccess;
  auto k = memKinds.find((u64)p);
  if (k == memKinds.end() || (k->second.type == cudaMemoryTypeHost) != host) return fail(cudaErrorInvalidValue);
  memKinds.erase(k);
  mem::freeGlobal((u64)p);
  return cudaSuccess;
}
u8* symbolAddress(const void* s, size_t* size = nullptr) {
  auto i = hostVars.find(s);
  if (i == hostVars.end()) return nullptr;
  Module* M = moduleOf(i->second.fat);
  if (!M) return nullptr;
  auto f = M->globals.find(i->second.name);
  if (size) *size = i->second.size;
  return f == M->globals.end() ? nullptr : (u8*)f->second;
}
}  // namespace

// --- compiler-generated registration ----------------------------------------------------------------------------
API void** __cudaRegisterFatBinary(void* w) {
  struct Wrapper { int magic, version; const u8* data; void* extra; }* q = (Wrapper*)w;
  Guard l(lock_);
  Fat* f = new Fat;
  const u8* d = q->data;
  u32 magic;
  memcpy(&magic, d, 4);
  if (magic != 0xBA55ED50) return (void**)f;
  const int cc = computeCapability();
  const u8 *p = d + *(u16*)(d + 6), *e = p + *(u64*)(d + 8);
  while (p + 32 <= e) {                   // entries: kind 1 is PTX, 2 is a cubin
    u16 kind = *(u16*)p;
    u32 header = *(u32*)(p + 4);
    u64 size = *(u64*)(p + 8);
    int arch = *(int*)(p + 28);
    if (kind == 1) {
      string s((const char*)p + header, size);
      if (s.find(".version") == string::npos) fprintf(stderr, "cuda_emulator: compressed PTX found; build with --no-compress\n");
      else {
        // the newest PTX not newer than the emulated device, else the oldest one there is
        bool fits = arch <= cc, haveFit = f->arch && f->arch <= cc;
        if (f->ptx.empty() || (fits && (!haveFit || arch > f->arch)) || (!fits && !haveFit && arch < f->arch)) { f->ptx = s.c_str(); f->arch = arch; }
      }
    }
    p += header + size;
  }
  if (f->arch > cc) fprintf(stderr, "cuda_emulator: PTX is for sm_%d, newer than the emulated sm_%d; set CUDA_EMULATOR_CC\n", f->arch, cc);
  return (void**)f;
}
API void __cudaRegisterFatBinaryEnd(void**) {}
API void __cudaUnregisterFatBinary(void**) { stats::report(); }
API char __cudaInitModule(void**) { return 1; }
API void __cudaRegisterFunction(void** h, const char* host, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*, int*) { Guard l(lock_); kernels[host] = {(Fat*)h, name}; }
API void __cudaRegisterVar(void** h, char* host, char*, const char* name, int, size_t size, int, int) { Guard l(lock_); hostVars[host] = {(Fat*)h, name, size}; }
API void __cudaRegisterManagedVar(void** h, void** host, char*, const char* name, int, size_t size, int, int) {
  Guard l(lock_);
  hostVars[host] = {(Fat*)h, name, size};
  Module* M = moduleOf((Fat*)h);
  if (M && M->globals.count(name)) *host = (void*)M->globals[name];
}
API unsigned __cudaPushCallConfiguration(dim3 g, dim3 b, size_t s, cudaStream_t st) { callConfigs.push_back({g, b, s, st}); return 0; }
API Err __cudaPopCallConfiguration(dim3* g, dim3* b, size_t* s, void* st) {
  if (callConfigs.empty()) return fail(cudaErrorMissingConfiguration);
  CallConfig c = callConfigs.back();
  callConfigs.pop_back();
  *g = c.g; *b = c.b; *s = c.smem;
  *(cudaStream_t*)st = c.st;
  return cudaSuccess;
}
API Err __cudaGetKernel(cudaKernel_t* k, const void* f) { *k = (cudaKernel_t)f; return kernels.count(f) ? cudaSuccess : cudaErrorInvalidDeviceFunction; }

// --- launches -----------------------------------------------------------------------------------------------------
API Err cudaLaunchKernel(const void* f, dim3 g, dim3 b, void** a, size_t s, cudaStream_t st) { return launchKernel(f, g, b, a, s, st); }
API Err __cudaLaunchKernel(cudaKernel_t k, dim3 g, dim3 b, void** a, size_t s, cudaStream_t st) { return launchKernel((const void*)k, g, b, a, s, st); }
API Err cudaLaunchKernelExC(const cudaLaunchConfig_t* c, const void* f, void** a) {
  if (!c) return fail(cudaErrorInvalidValue);
  for (unsigned i = 0; i < c->numAttrs; i++)
    if (c->attrs[i].id == cudaLaunchAttributeClusterDimension) {
      auto& d = c->attrs[i].val.clusterDim;
      if (d.x * d.y * d.z > 1) { fprintf(stderr, "cuda_emulator: thread block clusters are not supported\n"); return fail(cudaErrorNotSupported); }
    }
  return launchKernel(f, c->gridDim, c->blockDim, a, c->dynamicSmemBytes, c->stream);
}
API Err cudaLaunchCooperativeKernel(const void* f, dim3 g, dim3 b, void** a, size_t s, cudaStream_t st) {
  {
    Guard l(lock_);
    auto it = kernels.find(f);
    Module* M = it == kernels.end() ? nullptr : moduleOf(it->second.fat);
    if (M && M->functions.count(it->second.name) && M->functions[it->second.name].usesEnvreg) {
      fprintf(stderr, "cuda_emulator: %s: grid-wide synchronisation (grid.sync) is not supported\n", it->second.name.c_str());
      return fail(cudaErrorNotSupported);
    }
  }
  return launchKernel(f, g, b, a, s, st);
}
API Err cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t fn, void* u) { Guard l(lock_); return submit(s, cudaGraphNodeTypeHost, [=] { fn(u); return cudaSuccess; }); }
API Err cudaStreamAddCallback(cudaStream_t s, cudaStreamCallback_t cb, void* u, unsigned) { Guard l(lock_); return submit(s, cudaGraphNodeTypeHost, [=] { cb(s, cudaSuccess, u); return cudaSuccess; }); }

// --- memory -------------------------------------------------------------------------------------------------------
API Err cudaMalloc(void** p, size_t n) { Guard l(lock_); Err e = unsafeCall(); return e ? e : allocate(p, n, cudaMemoryTypeDevice); }
API Err cudaMallocAsync(void** p, size_t n, cudaStream_t s) { return streamOf(s) ? allocate(p, n, cudaMemoryTypeDevice) : fail(cudaErrorInvalidResourceHandle); }
API Err cudaMallocManaged(void** p, size_t n, unsigned) { return allocate(p, n, cudaMemoryTypeManaged); }
API Err cudaMallocHost(void** p, size_t n) { return allocate(p, n, cudaMemoryTypeHost); }
API Err cudaHostAlloc(void** p, size_t n, unsigned f) { return allocate(p, n, cudaMemoryTypeHost, f); }
API Err cudaMallocPitch(void** p, size_t* pitch, size_t w, size_t h) { *pitch = (w + 511) / 512 * 512; return cudaMalloc(p, *pitch * h); }
API Err cudaFree(void* p) { Guard l(lock_); Err e = unsafeCall(); return e ? e : release(p, false); }
API Err cudaFreeAsync(void* p, cudaStream_t s) {
  Guard l(lock_);
  Stream* st = streamOf(s);
  if (!st) return fail(cudaErrorInvalidResourceHandle);
  return st->cap ? cudaSuccess : release(p, false);      // a captured free keeps the memory for the replays
}
API Err cudaFreeHost(void* p) { return release(p, true); }
API Err cudaHostRegister(void* p, size_t n, unsigned) {
  Guard l(lock_);
  if (!p || !n) return fail(cudaErrorInvalidValue);
  if (registered.count((u64)p)) return fail(cudaErrorHostMemoryAlreadyRegistered);
  registered[(u64)p] = n;
  mem::addRegion((u64)p, n);
  return cudaSuccess;
}
API Err cudaHostUnregister(void* p) {
  Guard l(lock_);
  if (!registered.erase((u64)p)) return fail(cudaErrorHostMemoryNotRegistered);
  mem::removeRegion((u64)p);
  return cudaSuccess;
}
API Err cudaHostGetDevicePointer(void** d, void* h, unsigned) { *d = h; return cudaSuccess; }
API Err cudaHostGetFlags(unsigned* f, void* p) { auto k = memKinds.find((u64)p); if (k == memKinds.end()) return fail(cudaErrorInvalidValue); *f = k->second.flags; return cudaSuccess; }
API Err cudaPointerGetAttributes(cudaPointerAttributes* a, const void* p) {
  Guard l(lock_);
  memset(a, 0, sizeof *a);
  a->device = -1;
  a->type = cudaMemoryTypeUnregistered;
  a->hostPointer = (void*)p;
  u64 lo, size;
  if (mem::findAlloc((u64)p, lo, size)) {
    auto k = memKinds.find(lo);
    a->type = k == memKinds.end() ? cudaMemoryTypeDevice : k->second.type;
    a->device = 0;
    a->devicePointer = (void*)p;
    if (a->type == cudaMemoryTypeDevice) a->hostPointer = nullptr;
  } else
    for (auto& r : registered)
      if ((u64)p >= r.first && (u64)p < r.first + r.second) { a->type = cudaMemoryTypeHost; a->device = 0; a->devicePointer = (void*)p; }
  return cudaSuccess;
}
API Err cudaMemcpyAsync(void* d, const void* s, size_t n, cudaMemcpyKind, cudaStream_t st) { Guard l(lock_); return submit(st, cudaGraphNodeTypeMemcpy, [=] { return copyBytes(d, s, n); }); }
API Err cudaMemcpy(void* d, const void* s, size_t n, cudaMemcpyKind k) {
  Guard l(lock_);
  Err e = legacyImplicit();
  if (e || (e = synchronise())) return e;
  (void)k;
  return copyBytes(d, s, n);
}
static Err copy2D(void* d, size_t dp, const void* s, size_t sp, size_t w, size_t h) {
  if (w > dp || w > sp) return fail(cudaErrorInvalidPitchValue);
  for (size_t i = 0; i < h; i++) { Err e = copyBytes((u8*)d + i * dp, (const u8*)s + i * sp, w); if (e) return e; }
  return cudaSuccess;
}
API Err cudaMemcpy2DAsync(void* d, size_t dp, const void* s, size_t sp, size_t w, size_t h, cudaMemcpyKind, cudaStream_t st) { Guard l(lock_); return submit(st, cudaGraphNodeTypeMemcpy, [=] { return copy2D(d, dp, s, sp, w, h); }); }
API Err cudaMemcpy2D(void* d, size_t dp, const void* s, size_t sp, size_t w, size_t h, cudaMemcpyKind) { Guard l(lock_); Err e = legacyImplicit(); return e || (e = synchronise()) ? e : copy2D(d, dp, s, sp, w, h); }
API Err cudaMemcpyPeer(void* d, int, const void* s, int, size_t n) { return cudaMemcpy(d, s, n, cudaMemcpyDeviceToDevice); }
API Err cudaMemsetAsync(void* d, int v, size_t n, cudaStream_t st) { Guard l(lock_); return submit(st, cudaGraphNodeTypeMemset, [=] { return setBytes(d, v, n); }); }
API Err cudaMemset(void* d, int v, size_t n) { Guard l(lock_); Err e = legacyImplicit(); return e ? e : setBytes(d, v, n); }
static Err set2D(void* d, size_t p, int v, size_t w, size_t h) {
  for (size_t i = 0; i < h; i++) { Err e = setBytes((u8*)d + i * p, v, w); if (e) return e; }
  return cudaSuccess;
}
API Err cudaMemset2DAsync(void* d, size_t p, int v, size_t w, size_t h, cudaStream_t st) { Guard l(lock_); return submit(st, cudaGraphNodeTypeMemset, [=] { return set2D(d, p, v, w, h); }); }
API Err cudaMemset2D(void* d, size_t p, int v, size_t w, size_t h) { Guard l(lock_); Err e = legacyImplicit(); return e ? e : set2D(d, p, v, w, h); }
static Err symbolCopy(const void* s, void* p, size_t n, size_t o, bool to, cudaStream_t st, bool async) {
  Guard l(lock_);
  size_t size;
  u8* a = symbolAddress(s, &size);
  if (!a) return fail(cudaErrorInvalidSymbol);
  if (o + n > size) return fail(cudaErrorInvalidValue);
  auto run = [=] { if (to) memcpy(a + o, p, n); else memcpy(p, a + o, n); return cudaSuccess; };
  return async ? submit(st, cudaGraphNodeTypeMemcpy, run) : run();
}
API Err cudaMemcpyToSymbol(const void* s, const void* p, size_t n, size_t o, cudaMemcpyKind) { return symbolCopy(s, (void*)p, n, o, true, 0, false); }
API Err cudaMemcpyFromSymbol(void* p, const void* s, size_t n, size_t o, cudaMemcpyKind) { return symbolCopy(s, p, n, o, false, 0, false); }
API Err cudaMemcpyToSymbolAsync(const void* s, const void* p, size_t n, size_t o, cudaMemcpyKind, cudaStream_t st) { return symbolCopy(s, (void*)p, n, o, true, st, true); }
API Err cudaMemcpyFromSymbolAsync(void* p, const void* s, size_t n, size_t o, cudaMemcpyKind, cudaStream_t st) { return symbolCopy(s, p, n, o, false, st, true); }
API Err cudaGetSymbolAddress(void** p, const void* s) { Guard l(lock_); u8* a = symbolAddress(s); if (!a) return fail(cudaErrorInvalidSymbol); *p = a; return cudaSuccess; }
API Err cudaGetSymbolSize(size_t* n, const void* s) { Guard l(lock_); return symbolAddress(s, n) ? cudaSuccess : fail(cudaErrorInvalidSymbol); }
API Err cudaMemGetInfo(size_t* f, size_t* t) { Guard l(lock_); u64 n = (u64)envInt("CUDA_EMULATOR_MEM_MB", 8192) << 20; *t = n; *f = n - std::min(n, mem::bytesAllocated()); return cudaSuccess; }
API Err cudaMemPrefetchAsync(const void*, size_t, cudaMemLocation, unsigned, cudaStream_t) { return cudaSuccess; }
API Err cudaMemAdvise(const void*, size_t, cudaMemoryAdvise, cudaMemLocation) { return cudaSuccess; }
API Err cudaDeviceGetDefaultMemPool(cudaMemPool_t* p, int) { static int pool; *p = (cudaMemPool_t)&pool; return cudaSuccess; }
API Err cudaDeviceGetMemPool(cudaMemPool_t* p, int d) { return cudaDeviceGetDefaultMemPool(p, d); }
API Err cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
API Err cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr, void* v) { *(u64*)v = 0; return cudaSuccess; }
API Err cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }

// --- errors -------------------------------------------------------------------------------------------------------
API Err cudaGetLastError() { Err e = lastError; lastError = stickyFault; return stickyFault ? stickyFault : e; }
API Err cudaPeekAtLastError() { return stickyFault ? stickyFault : lastError; }
static const struct { Err e; const char *name, *text; } errorTable[] = {
#define E(n, t) {n, #n, t}
  E(cudaSuccess, "no error"), E(cudaErrorInvalidValue, "invalid argument"), E(cudaErrorMemoryAllocation, "out of memory"),
  E(cudaErrorInitializationError, "initialization error"), E(cudaErrorInvalidConfiguration, "invalid configuration argument"),
  E(cudaErrorInvalidPitchValue, "invalid pitch argument"), E(cudaErrorInvalidSymbol, "invalid device symbol"),
  E(cudaErrorInvalidDevicePointer, "invalid device pointer"), E(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
  E(cudaErrorMissingConfiguration, "__global__ function call is not configured"), E(cudaErrorInvalidDeviceFunction, "invalid device function"),
  E(cudaErrorNoDevice, "no CUDA-capable device is detected"), E(cudaErrorInvalidDevice, "invalid device ordinal"),
  E(cudaErrorInvalidKernelImage, "device kernel image is invalid"), E(cudaErrorNoKernelImageForDevice, "no kernel image is available for execution on the device"),
  E(cudaErrorInvalidPtx, "a PTX JIT compilation failed"), E(cudaErrorUnsupportedPtxVersion, "the provided PTX was compiled with an unsupported toolchain."),
  E(cudaErrorInvalidResourceHandle, "invalid resource handle"), E(cudaErrorNotReady, "device not ready"),
  E(cudaErrorIllegalAddress, "an illegal memory access was encountered"), E(cudaErrorLaunchOutOfResources, "too many resources requested for launch"),
  E(cudaErrorLaunchTimeout, "the launch timed out and was terminated"), E(cudaErrorAssert, "device-side assert triggered"),
  E(cudaErrorHostMemoryAlreadyRegistered, "part or all of the requested memory range is already mapped"),
  E(cudaErrorHostMemoryNotRegistered, "pointer does not correspond to a registered memory region"),
  E(cudaErrorIllegalInstruction, "an illegal instruction was encountered"), E(cudaErrorMisalignedAddress, "misaligned address"),
  E(cudaErrorLaunchFailure, "unspecified launch failure"), E(cudaErrorCooperativeLaunchTooLarge, "too many blocks in cooperative launch"),
  E(cudaErrorNotPermitted, "operation not permitted"), E(cudaErrorNotSupported, "operation not supported"),
  E(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"),
  E(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture"),
  E(cudaErrorStreamCaptureMerge, "operation would result in a merge of separate capture sequences"),
  E(cudaErrorStreamCaptureUnmatched, "capture was not ended in the same stream as it began"),
  E(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"), E(cudaErrorStreamCaptureIsolation, "dependency created on uncaptured work in another stream"),
  E(cudaErrorStreamCaptureImplicit, "operation would make the legacy stream depend on a capturing blocking stream"),
  E(cudaErrorCapturedEvent, "operation not permitted on an event last recorded in a capturing stream"),
  E(cudaErrorStreamCaptureWrongThread, "attempt to terminate a thread-local capture sequence from another thread"),
  E(cudaErrorGraphExecUpdateFailure, "the graph update was not performed because it included changes which violated constraints specific to instantiated graph update"),
  E(cudaErrorSymbolNotFound, "named symbol not found"), E(cudaErrorPeerAccessUnsupported, "peer access is not supported between these two devices"), E(cudaErrorUnknown, "unknown error"),
#undef E
};
API const char* cudaGetErrorString(Err e) { for (auto& x : errorTable) if (x.e == e) return x.text; return "unrecognized error code"; }
API const char* cudaGetErrorName(Err e) { for (auto& x : errorTable) if (x.e == e) return x.name; return "unrecognized error code"; }

// --- streams and events ---------------------------------------------------------------------------------------------
API Err cudaStreamCreateWithPriority(cudaStream_t* s, unsigned f, int p) { Guard l(lock_); Stream* n = new Stream; n->flags = f; n->priority = p; streams.insert(n); *s = (cudaStream_t)n; return cudaSuccess; }
API Err cudaStreamCreateWithFlags(cudaStream_t* s, unsigned f) { return cudaStreamCreateWithPriority(s, f, 0); }
API Err cudaStreamCreate(cudaStream_t* s) { return cudaStreamCreateWithPriority(s, 0, 0); }
API Err cudaStreamDestroy(cudaStream_t s) { Guard l(lock_); if (!streams.erase((Stream*)s)) return fail(cudaErrorInvalidResourceHandle); delete (Stream*)s; return cudaSuccess; }
API Err cudaStreamGetFlags(cudaStream_t s, unsigned* f) { Stream* st = streamOf(s); if (!st) return fail(cudaErrorInvalidResourceHandle); *f = st->flags; return cudaSuccess; }
API Err cudaStreamGetPriority(cudaStream_t s, int* p) { Stream* st = streamOf(s); if (!st) return fail(cudaErrorInvalidResourceHandle); *p = st->priority; return cudaSuccess; }
API Err cudaStreamGetDevice(cudaStream_t, int* d) { *d = 0; return cudaSuccess; }
API Err cudaDeviceGetStreamPriorityRange(int* lo, int* hi) { if (lo) *lo = 0; if (hi) *hi = -5; return cudaSuccess; }
API Err cudaStreamSynchronize(cudaStream_t s) {
  Guard l(lock_);
  Stream* st = streamOf(s);
  if (!st) return fail(cudaErrorInvalidResourceHandle);
  if (st->cap) { st->cap->invalid = true; return fail(cudaErrorStreamCaptureUnsupported); }
  if (st == &legacyStream) { Err e = legacyImplicit(); if (e) return e; }
  return synchronise();
}
API Err cudaStreamQuery(cudaStream_t s) { return cudaStreamSynchronize(s); }
API Err cudaDeviceSynchronize() { Guard l(lock_); Err e = unsafeCall(); return e ? e : synchronise(); }
API Err cudaEventCreateWithFlags(cudaEvent_t* e, unsigned f) { Event* n = new Event; n->timing = !(f & cudaEventDisableTiming); *e = (cudaEvent_t)n; return cudaSuccess; }
API Err cudaEventCreate(cudaEvent_t* e) { return cudaEventCreateWithFlags(e, 0); }
API Err cudaEventDestroy(cudaEvent_t e) { delete (Event*)e; return cudaSuccess; }
API Err cudaEventRecord(cudaEvent_t ev, cudaStream_t s) {
  Guard l(lock_);
  Stream* st = streamOf(s);
  if (!st || !ev) return fail(cudaErrorInvalidResourceHandle);
  Event* e = (Event*)ev;
  e->cap = st->cap;
  e->stream = st;
  e->seq = st->seq;
  if (!st->cap) e->ms = nowMs();
  return cudaSuccess;
}
API Err cudaEventRecordWithFlags(cudaEvent_t e, cudaStream_t s, unsigned) { return cudaEventRecord(e, s); }
API Err cudaEventSynchronize(cudaEvent_t e) { Guard l(lock_); if (((Event*)e)->cap) return fail(cudaErrorCapturedEvent); return synchronise(); }
API Err cudaEventQuery(cudaEvent_t e) { Guard l(lock_); return ((Event*)e)->cap ? fail(cudaErrorCapturedEvent) : cudaSuccess; }
API Err cudaEventElapsedTime(float* ms, cudaEvent_t a, cudaEvent_t b) {
  Event *p = (Event*)a, *q = (Event*)b;
  if (!p || !q || p->ms < 0 || q->ms < 0 || !p->timing || !q->timing) return fail(cudaErrorInvalidResourceHandle);
  *ms = (float)(q->ms - p->ms);          // host time, of no meaning for a GPU
  return cudaSuccess;
}
API Err cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t ev, unsigned) {
  Guard l(lock_);
  Stream* st = streamOf(s);
  Event* e = (Event*)ev;
  if (!st || !e) return fail(cudaErrorInvalidResourceHandle);
  if (!e->cap) { if (st->cap && e->stream) { st->cap->invalid = true; return fail(cudaErrorStreamCaptureIsolation); } return cudaSuccess; }
  if (!captures.count(e->cap)) return fail(cudaErrorStreamCaptureInvalidated);
  if (st->cap && st->cap != e->cap) return fail(cudaErrorStreamCaptureMerge);
  if (st == &legacyStream) { e->cap->invalid = true; return fail(cudaErrorStreamCaptureImplicit); }
  if (!st->cap) { st->cap = e->cap; st->joined = false; }         // forked into the capture
  if (e->stream != st && e->stream->cap == e->cap && e->seq == e->stream->seq) e->stream->joined = true;
  return cudaSuccess;
}

// --- capture and graphs ---------------------------------------------------------------------------------------------
API Err cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode) {
  Guard l(lock_);
  Stream* st = streamOf(s);
  if (!st) return fail(cudaErrorInvalidResourceHandle);
  if (st == &legacyStream) return fail(cudaErrorStreamCaptureUnsupported);
  if (st->cap) return fail(cudaErrorIllegalState);
  Capture* c = new Capture{new Graph, mode, st, false, nextCaptureId++};
  captures.insert(c);
  st->cap = c;
  st->joined = true;
  return cudaSuccess;
}
API Err cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* g) {
  Guard l(lock_);
  if (g) *g = nullptr;
  Stream* st = streamOf(s);
  if (!st) return fail(cudaErrorInvalidResourceHandle);
  Capture* c = st->cap;
  if (!c) return fail(cudaErrorIllegalState);
  if (c->origin != st) { c->invalid = true; return fail(cudaErrorStreamCaptureUnmatched); }
  bool unjoined = false;
  for (auto* q : streams) if (q->cap == c) { unjoined |= !q->joined && q != st; q->cap = nullptr; }
  Err e = c->invalid ? cudaErrorStreamCaptureInvalidated : unjoined ? cudaErrorStreamCaptureUnjoined : cudaSuccess;
  if (!e && g) *g = (cudaGraph_t)c->graph; else delete c->graph;
  captures.erase(c);
  delete c;
  return e ? fail(e) : e;
}
API Err cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus* o) {
  Guard l(lock_);
  Stream* st = streamOf(s);
  if (!st) return fail(cudaErrorInvalidResourceHandle);
  *o = !st->cap ? cudaStreamCaptureStatusNone : st->cap->invalid ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
API Err cudaStreamGetCaptureInfo(cudaStream_t s, cudaStreamCaptureStatus* o, unsigned long long* id, cudaGraph_t* g, const cudaGraphNode_t** dep, const cudaGraphEdgeData** edge, size_t* n) {
  Err e = cudaStreamIsCapturing(s, o);
  if (e) return e;
  Stream* st = streamOf(s);
  if (id) *id = st->cap ? st->cap->id : 0;
  if (g) *g = st->cap ? (cudaGraph_t)st->cap->graph : nullptr;
  if (dep) *dep = nullptr;
  if (edge) *edge = nullptr;
  if (n) *n = 0;
  return cudaSuccess;
}
API Err cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* m) { static thread_local cudaStreamCaptureMode cur = cudaStreamCaptureModeGlobal; std::swap(cur, *m); return cudaSuccess; }
API Err cudaGraphCreate(cudaGraph_t* g, unsigned) { *g = (cudaGraph_t) new Graph; return cudaSuccess; }
API Err cudaGraphInstantiate(cudaGraphExec_t* x, cudaGraph_t g, unsigned long long) { if (!g) return fail(cudaErrorInvalidValue); *x = (cudaGraphExec_t) new Graph(*(Graph*)g); return cudaSuccess; }
API Err cudaGraphInstantiateWithFlags(cudaGraphExec_t* x, cudaGraph_t g, unsigned long long f) { return cudaGraphInstantiate(x, g, f); }
API Err cudaGraphLaunch(cudaGraphExec_t x, cudaStream_t s) {
  Guard l(lock_);
  if (!x) return fail(cudaErrorInvalidValue);
  Graph* g = (Graph*)x;
  for (size_t i = 0; i < g->nodes.size(); i++) { Err e = submit(s, g->types[i], g->nodes[i]); if (e) return e; }
  return cudaSuccess;
}
API Err cudaGraphExecUpdate(cudaGraphExec_t x, cudaGraph_t g, cudaGraphExecUpdateResultInfo* r) {
  Graph *a = (Graph*)x, *b = (Graph*)g;
  bool same = a->types == b->types;
  if (r) { memset(r, 0, sizeof *r); r->result = same ? cudaGraphExecUpdateSuccess : cudaGraphExecUpdateErrorTopologyChanged; }
  if (!same) return fail(cudaErrorGraphExecUpdateFailure);
  *a = *b;
  return cudaSuccess;
}
API Err cudaGraphGetNodes(cudaGraph_t g, cudaGraphNode_t*, size_t* n) { *n = ((Graph*)g)->nodes.size(); return cudaSuccess; }
API Err cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }
API Err cudaGraphDestroy(cudaGraph_t g) { delete (Graph*)g; return cudaSuccess; }
API Err cudaGraphExecDestroy(cudaGraphExec_t x) { delete (Graph*)x; return cudaSuccess; }

// --- device and function properties -----------------------------------------------------------------------------------
API Err cudaGetDevice(int* d) { *d = 0; return cudaSuccess; }
API Err cudaSetDevice(int d) { return d ? fail(cudaErrorInvalidDevice) : cudaSuccess; }
API Err cudaInitDevice(int d, unsigned, unsigned) { return cudaSetDevice(d); }
API Err cudaGetDeviceCount(int* c) { *c = 1; return cudaSuccess; }
API Err cudaSetDeviceFlags(unsigned) { return cudaSuccess; }
API Err cudaGetDeviceFlags(unsigned* f) { *f = 0; return cudaSuccess; }
API Err cudaDeviceReset() { stats::report(); return cudaSuccess; }
API Err cudaDriverGetVersion(int* v) { *v = 13000; return cudaSuccess; }
API Err cudaRuntimeGetVersion(int* v) { *v = 13000; return cudaSuccess; }
API Err cudaDeviceCanAccessPeer(int* v, int, int) { *v = 0; return cudaSuccess; }
API Err cudaDeviceSetCacheConfig(cudaFuncCache) { return cudaSuccess; }
API Err cudaDeviceSetLimit(cudaLimit, size_t) { return cudaSuccess; }
API Err cudaDeviceGetLimit(size_t* v, cudaLimit) { *v = 0; return cudaSuccess; }
API Err cudaProfilerStart() { return cudaSuccess; }
API Err cudaProfilerStop() { return cudaSuccess; }
API Err cudaDeviceGetPCIBusId(char* s, int n, int) { snprintf(s, n, "0000:00:00.0"); return cudaSuccess; }
API Err cudaDeviceGetAttribute(int* v, cudaDeviceAttr a, int) {
  const int cc = computeCapability();
  switch ((int)a) {
    case cudaDevAttrMaxThreadsPerBlock: case cudaDevAttrMaxBlockDimX: case cudaDevAttrMaxBlockDimY: *v = 1024; break;
    case cudaDevAttrMaxBlockDimZ: *v = 64; break;
    case cudaDevAttrMaxGridDimX: *v = 2147483647; break;
    case cudaDevAttrMaxGridDimY: case cudaDevAttrMaxGridDimZ: *v = 65535; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *v = 49152; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *v = smemOptin(); break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *v = smemOptin() + 1024; break;
    case cudaDevAttrReservedSharedMemoryPerBlock: *v = 1024; break;
    case cudaDevAttrTotalConstantMemory: *v = 65536; break;
    case cudaDevAttrWarpSize: *v = 32; break;
    case cudaDevAttrMultiProcessorCount: *v = smCount(); break;
    case cudaDevAttrMaxRegistersPerBlock: case cudaDevAttrMaxRegistersPerMultiprocessor: *v = 65536; break;
    case cudaDevAttrComputeCapabilityMajor: *v = cc / 10; break;
    case cudaDevAttrComputeCapabilityMinor: *v = cc % 10; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *v = 1536; break;
    case cudaDevAttrMaxBlocksPerMultiprocessor: *v = 24; break;
    case cudaDevAttrClockRate: *v = 2000000; break;
    case cudaDevAttrMemoryClockRate: *v = 9000000; break;
    case cudaDevAttrGlobalMemoryBusWidth: *v = 192; break;
    case cudaDevAttrL2CacheSize: *v = 48 << 20; break;
    case cudaDevAttrMaxPitch: *v = 2147483647; break;
    case cudaDevAttrTextureAlignment: *v = 512; break;
    case cudaDevAttrUnifiedAddressing: case cudaDevAttrConcurrentKernels: case cudaDevAttrManagedMemory: case cudaDevAttrCanMapHostMemory:
    case cudaDevAttrMemoryPoolsSupported: case cudaDevAttrStreamPrioritiesSupported: case cudaDevAttrHostRegisterSupported: case cudaDevAttrCooperativeLaunch: *v = 1; break;
    default: *v = 0;
  }
  return cudaSuccess;
}
API Err cudaGetDeviceProperties(cudaDeviceProp* p, int d) {
  if (d) return fail(cudaErrorInvalidDevice);
  memset(p, 0, sizeof *p);
  const int cc = computeCapability();
  snprintf(p->name, sizeof p->name, "cuda_emulator (sm_%d-like, CPU)", cc);
  p->major = cc / 10; p->minor = cc % 10;
  p->totalGlobalMem = (size_t)envInt("CUDA_EMULATOR_MEM_MB", 8192) << 20;
  p->sharedMemPerBlock = 49152; p->sharedMemPerBlockOptin = smemOptin(); p->sharedMemPerMultiprocessor = smemOptin() + 1024; p->reservedSharedMemPerBlock = 1024;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->warpSize = 32;
  p->maxThreadsPerBlock = 1024; p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024; p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 2147483647; p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->totalConstMem = 65536;
  p->multiProcessorCount = smCount(); p->maxThreadsPerMultiProcessor = 1536; p->maxBlocksPerMultiProcessor = 24;
  p->memoryBusWidth = 192; p->l2CacheSize = 48 << 20; p->textureAlignment = 512; p->memPitch = 2147483647;
  p->unifiedAddressing = p->concurrentKernels = p->managedMemory = p->canMapHostMemory = p->memoryPoolsSupported = p->streamPrioritiesSupported = 1;
  p->asyncEngineCount = 2;
  return cudaSuccess;
}
API Err cudaFuncGetAttributes(cudaFuncAttributes* a, const void* f) {
  Guard l(lock_);
  memset(a, 0, sizeof *a);
  auto it = kernels.find(f);
  if (it == kernels.end()) return fail(cudaErrorInvalidDeviceFunction);
  Module* M = moduleOf(it->second.fat);
  if (!M || !M->functions.count(it->second.name)) return fail(cudaErrorInvalidDeviceFunction);
  Function& F = M->functions[it->second.name];
  link(*M, F);
  a->sharedSizeBytes = F.staticShared;
  a->localSizeBytes = F.localSize;
  a->maxThreadsPerBlock = F.maxThreads ? (int)F.maxThreads : 1024;
  a->numRegs = 32;                       // made up: register allocation happens after PTX
  a->ptxVersion = it->second.fat->arch;
  a->binaryVersion = computeCapability();
  a->maxDynamicSharedSizeBytes = it->second.maxDynamic;
  return cudaSuccess;
}
API Err cudaFuncSetAttribute(const void* f, cudaFuncAttribute a, int v) {
  Guard l(lock_);
  auto it = kernels.find(f);
  if (it == kernels.end()) return fail(cudaErrorInvalidDeviceFunction);
  if (a == cudaFuncAttributeMaxDynamicSharedMemorySize) {
    Module* M = moduleOf(it->second.fat);
    u32 fixed = 0;
    if (M && M->functions.count(it->second.name)) { link(*M, M->functions[it->second.name]); fixed = M->functions[it->second.name].staticShared; }
    if (v < 0 || (u32)v + fixed > smemOptin()) return fail(cudaErrorInvalidValue);
    it->second.maxDynamic = v;
    it->second.optedIn = true;
  }
  return cudaSuccess;
}
API Err cudaFuncSetCacheConfig(const void*, cudaFuncCache) { return cudaSuccess; }
API Err cudaFuncGetName(const char** n, const void* f) { auto it = kernels.find(f); if (it == kernels.end()) return fail(cudaErrorInvalidDeviceFunction); *n = it->second.name.c_str(); return cudaSuccess; }
// From threads and shared memory only: register use is not known before the assembler ran.
API Err cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* n, const void* f, int threads, size_t smem, unsigned) {
  cudaFuncAttributes a;
  Err e = cudaFuncGetAttributes(&a, f);
  if (e) return e;
  if (threads <= 0) return fail(cudaErrorInvalidValue);
  int warps = (threads + 31) / 32, byThreads = 48 / warps;
  size_t per = a.sharedSizeBytes + smem + 1024;
  int byShared = (int)((smemOptin() + 1024) / per);
  *n = threads > a.maxThreadsPerBlock ? 0 : std::min({24, byThreads, byShared});
  return cudaSuccess;
}
API Err cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* n, const void* f, int t, size_t s) { return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(n, f, t, s, 0); }
API Err cudaOccupancyAvailableDynamicSMemPerBlock(size_t* s, const void*, int blocks, int) { *s = smemOptin() / std::max(1, blocks); return cudaSuccess; }
