#include "logging.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdio>
#include <string>

#include "NvInferRuntime.h"

namespace retinaface {
namespace {

using Severity = nvinfer1::ILogger::Severity;

// A library built against one TensorRT may be loaded by another, and ILoggerFinder and ILogger are laid
// out anew since version 11 (TensorRT-RTX 1.7): both derive from IVersionedInterface there, which moves
// findLogger() and log() in the virtual tables. The headers' classes are therefore not used. The loading
// library's own C functions say which it is and where its logger is; these mirror the two layouts.
class PlainLogger {
  public:
    virtual void log(Severity severity, const char *message) noexcept = 0;

  protected:
    virtual ~PlainLogger() = default;
};

class VersionedLogger : public nvinfer1::IVersionedInterface {
  public:
    virtual void log(Severity severity, const char *message) noexcept = 0;
};

using GetLogger = void *(*)();
using GetVersion = int32_t (*)();

std::atomic<GetLogger> get_plain_logger{nullptr};
std::atomic<GetLogger> get_versioned_logger{nullptr};

template <typename Function>
Function function_of(void *library, const char *name) {
    return reinterpret_cast<Function>(dlsym(library, name));
}

bool log_through_tensorrt(const char *line) noexcept {
    if (GetLogger get = get_versioned_logger) {
        if (auto *logger = static_cast<VersionedLogger *>(get())) {
            logger->log(Severity::kERROR, line);
            return true;
        }
    }
    if (GetLogger get = get_plain_logger) {
        if (auto *logger = static_cast<PlainLogger *>(get())) {
            logger->log(Severity::kERROR, line);
            return true;
        }
    }
    return false;
}

}  // namespace

void set_logger_finder(const void *finder) noexcept {
    // The finder's virtual table lies in the library that made it.
    Dl_info tensorrt;
    if (finder == nullptr || dladdr(*static_cast<void *const *>(finder), &tensorrt) == 0) {
        return;
    }
    void *library = dlopen(tensorrt.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (library == nullptr) {
        return;
    }
    auto get_logger = function_of<GetLogger>(library, "getLogger");
    auto get_major = function_of<GetVersion>(library, "getInferLibMajorVersion");
    auto get_minor = function_of<GetVersion>(library, "getInferLibMinorVersion");
    if (get_logger != nullptr && get_major != nullptr && get_minor != nullptr) {
        int32_t major = get_major();
        bool is_rtx = major == 1;
        // An RTX older than 1.7 is of neither kind for sure, and its errors go to stderr.
        get_versioned_logger = major >= 11 || (is_rtx && get_minor() >= 7) ? get_logger : nullptr;
        get_plain_logger = major == 10 ? get_logger : nullptr;
    }
    dlclose(library);  // it stays loaded: it is what calls us
}

void log_error(const char *who, const char *message) noexcept {
    try {
        std::string line = std::string(who) + ": " + message;
        if (!log_through_tensorrt(line.c_str())) {
            std::fprintf(stderr, "%s\n", line.c_str());
        }
    } catch (...) {
        std::fputs("retinaface_plugins: an error could not be logged\n", stderr);
    }
}

}  // namespace retinaface
