#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace retinaface {

/// Thrown by validate_* functions: names the argument, what was given and what was expected.
class InvalidArgument : public std::invalid_argument {
  public:
    using std::invalid_argument::invalid_argument;
};

/// Throws InvalidArgument with the given pieces streamed together unless `ok`.
template <typename... Pieces>
void require(bool ok, const Pieces &...pieces) {
    if (ok) {
        return;
    }
    std::ostringstream message;
    (message << ... << pieces);
    throw InvalidArgument(message.str());
}

}  // namespace retinaface
