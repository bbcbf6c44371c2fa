#pragma once

#include <stdexcept>
#include <string>

#include "common/text.h"

namespace retinaface {

/// An argument is wrong. The message names it and says what was given and what is expected.
class InvalidArgument : public std::invalid_argument {
  public:
    using std::invalid_argument::invalid_argument;
};

/// Throws InvalidArgument unless `ok`. The message is all `pieces` written one after another.
template <typename... Pieces>
void require(bool ok, const Pieces &...pieces) {
    if (!ok) {
        throw InvalidArgument(text(pieces...));
    }
}

}  // namespace retinaface
