#pragma once

#include <cstdint>
#include <exception>

namespace retinaface {

/// Takes the ILoggerFinder that TensorRT hands to the library: from now on log_error knows the logger.
void set_logger_finder(const void *finder) noexcept;

/// Logs "who: message" as an error through TensorRT's logger, or on stderr where there is none.
void log_error(const char *who, const char *message) noexcept;

/// body()'s result; where it throws, logs what was thrown and gives `failure`. Every noexcept override
/// that can fail runs in one of these: an exception that leaves one ends the process.
template <typename Result, typename Body>
Result guarded(const char *who, Result failure, Body &&body) noexcept {
    try {
        return body();
    } catch (const std::exception &error) {
        log_error(who, error.what());
    } catch (...) {
        log_error(who, "unknown exception");
    }
    return failure;
}

/// As above for overrides that give a status: 0, or 1 where body() throws.
template <typename Body>
int32_t guarded_status(const char *who, Body &&body) noexcept {
    return guarded<int32_t>(who, 1, [&] {
        body();
        return 0;
    });
}

}  // namespace retinaface
