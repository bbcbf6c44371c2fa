#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace retinaface {

/// An argument is wrong. The message names it and says what was given and what is expected.
class InvalidArgument : public std::invalid_argument {
  public:
    using std::invalid_argument::invalid_argument;
};

/// Throws InvalidArgument unless `ok`. The message is all `pieces` written one after another.
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
