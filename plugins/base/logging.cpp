#include "logging.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdio>
#include <string>

#include "NvInferRuntime.h"

namespace retinaface {
namespace {

// This library may be built with the headers of one TensorRT version and loaded by another. In TensorRT 11 (and
// TensorRT-RTX 1.7) ILoggerFinder and ILogger derive from IVersionedInterface, which moves findLogger() and log()
// in their virtual tables. So the header's classes are not used: plain C functions of the loading TensorRT give its
// version and its logger, and log() is called by its slot in the virtual table.
constexpr int kLogSlot10 = 0;
constexpr int kLogSlot11 = 4;  // after getAPILanguage, getInterfaceInfo and two entries for the destructor

using GetLogger = void *(*)();
using GetVersion = int32_t (*)();
using Log = void (*)(void *self, nvinfer1::ILogger::Severity severity, const char *message);

std::atomic<GetLogger> get_logger{nullptr};
std::atomic<int> log_slot{kLogSlot10};

}  // namespace

void set_logger_finder(const void *finder) noexcept {
    // The finder's virtual table lies in TensorRT's own library.
    Dl_info tensorrt;
    if (finder == nullptr || dladdr(*static_cast<void *const *>(finder), &tensorrt) == 0) {
        return;
    }
    void *library = dlopen(tensorrt.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (library == nullptr) {
        return;
    }
    auto get = reinterpret_cast<GetLogger>(dlsym(library, "getLogger"));
    auto get_major = reinterpret_cast<GetVersion>(dlsym(library, "getInferLibMajorVersion"));
    auto get_minor = reinterpret_cast<GetVersion>(dlsym(library, "getInferLibMinorVersion"));
    if (get != nullptr && get_major != nullptr && get_minor != nullptr) {
        int32_t major = get_major();
        bool is_10 = major == 10;
        bool is_11 = major >= 11 || (major == 1 && get_minor() >= 7);  // TensorRT-RTX counts from 1
        log_slot = is_11 ? kLogSlot11 : kLogSlot10;
        get_logger = is_10 || is_11 ? get : nullptr;
    }
    dlclose(library);  // stays loaded: it is the caller
}

void log_error(const char *who, const char *message) noexcept {
    try {
        std::string line = std::string(who) + ": " + message;
        GetLogger get = get_logger;
        void *logger = get == nullptr ? nullptr : get();
        if (logger != nullptr) {
            auto *virtual_table = *static_cast<Log **>(logger);
            virtual_table[log_slot](logger, nvinfer1::ILogger::Severity::kERROR, line.c_str());
        } else {
            std::fprintf(stderr, "%s\n", line.c_str());
        }
    } catch (...) {
        std::fputs("retinaface_plugins: logging an error failed\n", stderr);
    }
}

}  // namespace retinaface
