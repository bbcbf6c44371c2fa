#pragma once

namespace retinaface {

/// Remembers the logger of the TensorRT that loads this library. `finder` is the ILoggerFinder that it passes.
void set_logger_finder(const void *finder) noexcept;

/// Logs "who: message" as an error: to TensorRT's logger, or to stderr if there is none.
void log_error(const char *who, const char *message) noexcept;

}  // namespace retinaface
