#include "runtime/images.h"

#include <cstdio>
#include <cstring>

#include "memory/address_space.h"
#include "runtime/errors.h"
#include "statistics/statistics.h"

namespace cuda_emulator::runtime {
namespace {

struct HostVariable {
    Image *image;
    std::string name;
    size_t bytes;
};

std::map<const void *, Kernel> kernels;
std::map<const void *, HostVariable> variables;

/// The argument that nvcc's code passes to __cudaRegisterFatBinary.
struct FatBinaryWrapper {
    int magic, version;
    const u8 *data;
    void *extra;
};

struct FatBinaryHeader {
    static constexpr u32 kMagic = 0xba55ed50;

    u32 magic;
    u16 version, header_bytes;
    u64 bytes;  // size of the entries
};

struct FatBinaryEntry {
    static constexpr u16 kPtx = 1;

    u16 kind, version;
    u32 header_bytes;
    u64 bytes;  // size of the data after the header
    u8 unused[12];
    int architecture;
};

template <class Header>
Header read(const u8 *data) {
    Header header;
    std::memcpy(&header, data, sizeof(header));
    return header;
}

/// Takes the newest PTX that is not newer than the device; if all are newer, the oldest.
void consider(Image &image, const std::string &ptx, int architecture) {
    const int device = compute_capability();
    const bool fits = architecture <= device, has_fit = image.architecture && image.architecture <= device;
    const bool better =
        fits ? !has_fit || architecture > image.architecture : !has_fit && architecture < image.architecture;
    if (image.ptx.empty() || better) {
        image.ptx = ptx;
        image.architecture = architecture;
    }
}

void read_entries(Image &image, const u8 *data) {
    const auto header = read<FatBinaryHeader>(data);
    if (header.magic != FatBinaryHeader::kMagic) {
        return;
    }
    const u8 *next = data + header.header_bytes, *end = next + header.bytes;
    while (next + sizeof(FatBinaryEntry) <= end) {
        const auto entry = read<FatBinaryEntry>(next);
        if (entry.kind == FatBinaryEntry::kPtx) {
            const std::string text(reinterpret_cast<const char *>(next) + entry.header_bytes, entry.bytes);
            if (text.find(".version") == std::string::npos) {
                std::fprintf(stderr, "cuda_emulator: compressed PTX found; build with --no-compress\n");
            } else {
                consider(image, text.c_str(), entry.architecture);  // without the zeros that pad it
            }
        }
        next += entry.header_bytes + entry.bytes;
    }
    if (image.architecture > compute_capability()) {
        std::fprintf(stderr, "cuda_emulator: PTX is for sm_%d, newer than the emulated sm_%d; set CUDA_EMULATOR_CC\n",
                     image.architecture, compute_capability());
    }
}

}  // namespace

Module *Image::module() {
    if (read_) {
        return module_.get();
    }
    read_ = true;
    memory::enable_checks();
    if (ptx.empty()) {
        std::fprintf(stderr,
                     "cuda_emulator: no usable PTX in the program; build with e.g. "
                     "-gencode arch=compute_80,code=compute_80 --no-compress\n");
        return nullptr;
    }
    try {
        module_ = parse_module(ptx);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "cuda_emulator: cannot load PTX: %s\n", error.what());
    }
    return module_.get();
}

Function *Kernel::function() {
    Module *module = image->module();
    const auto found = module ? module->functions.find(name) : decltype(module->functions.find(name))();
    if (!module || found == module->functions.end()) {
        return nullptr;
    }
    link(*module, found->second);
    return &found->second;
}

Kernel *find_kernel(const void *host_function) {
    const auto found = kernels.find(host_function);
    return found == kernels.end() ? nullptr : &found->second;
}

u8 *find_variable(const void *host_variable, size_t *bytes) {
    const auto variable = variables.find(host_variable);
    Module *module = variable == variables.end() ? nullptr : variable->second.image->module();
    if (!module) {
        return nullptr;
    }
    const auto address = module->addresses.find(variable->second.name);
    if (bytes) {
        *bytes = variable->second.bytes;
    }
    return address == module->addresses.end() ? nullptr : reinterpret_cast<u8 *>(address->second);
}

}  // namespace cuda_emulator::runtime

using namespace cuda_emulator;
using namespace cuda_emulator::runtime;

// nvcc's generated code calls these before main(): for each image, then for its kernels and variables.
extern "C" {

void **__cudaRegisterFatBinary(void *wrapper) {
    Lock lock(runtime::mutex);
    Image *image = new Image;  // never freed: kernels refer to it until the process ends
    read_entries(*image, static_cast<const FatBinaryWrapper *>(wrapper)->data);
    return reinterpret_cast<void **>(image);
}

void __cudaRegisterFatBinaryEnd(void **) {}

void __cudaUnregisterFatBinary(void **) {
    statistics::report();
}

char __cudaInitModule(void **) {
    return 1;
}

void __cudaRegisterFunction(void **image, const char *host_function, char *, const char *name, int, uint3 *, uint3 *,
                            dim3 *, dim3 *, int *) {
    Lock lock(runtime::mutex);
    kernels[host_function] = {reinterpret_cast<Image *>(image), name};
}

void __cudaRegisterVar(void **image, char *host_variable, char *, const char *name, int, size_t bytes, int, int) {
    Lock lock(runtime::mutex);
    variables[host_variable] = {reinterpret_cast<Image *>(image), name, bytes};
}

void __cudaRegisterManagedVar(void **image, void **host_pointer, char *, const char *name, int, size_t bytes, int,
                              int) {
    Lock lock(runtime::mutex);
    variables[host_pointer] = {reinterpret_cast<Image *>(image), name, bytes};
    if (u8 *address = find_variable(host_pointer)) {
        *host_pointer = address;
    }
}

}  // extern "C"
