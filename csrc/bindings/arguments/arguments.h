#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstddef>
#include <string>

#include "common/check.h"

namespace retinaface::bindings {

namespace py = pybind11;

// Python's values as the operators take them. pybind11's own conversions would raise TypeError, OverflowError or
// RuntimeError, with its view of the signature. These throw InvalidArgument: the argument, what was given, what is
// expected.

/// The name of an argument or of a part of it, put together only for a message: "image_sizes[2][0]".
class Name {
  public:
    explicit constexpr Name(const char *argument) : argument_(argument) {}
    /// The part refers to its whole, which must outlive it.
    Name operator[](size_t index) const { return Name(this, index); }
    std::string text() const;

  private:
    Name(const Name *whole, size_t index) : whole_(whole), index_(index) {}

    const char *argument_ = nullptr;
    const Name *whole_ = nullptr;
    size_t index_ = 0;
};

/// A Python value for a message: in ASCII, on one line, and not longer than a line.
std::string shown(py::handle value);

/// The name of a value's type, without its module.
std::string type_name(py::handle value);

/// The exception that is set, or was caught, for a message: its type and text.
std::string shown(const py::error_already_set &error);

[[noreturn]] void refuse(const Name &name, py::handle value, const char *expected);

/// True, False, or NumPy's.
bool bool_of(py::handle value, const Name &name);

/// Python's and NumPy's integers of 32 bits; no bool, no float.
int int_of(py::handle value, const Name &name);

/// Python's and NumPy's real numbers that float32 holds, NaN and infinity too; no bool.
float float_of(py::handle value, const Name &name, const char *expected = "a number");

std::string text_of(py::handle value, const Name &name, const char *expected);

/// Whether a value is a list, a tuple, a range, an array or another sequence; text is none.
bool is_sequence(py::handle value);

/// The items of a sequence, each converted when it is asked for.
class Items {
  public:
    Items(py::handle value, const Name &name, const char *expected);
    size_t size() const { return size_; }
    py::object operator[](size_t index) const;

  private:
    py::handle value_;
    Name name_;
    size_t size_ = 0;
};

/// A height and a width.
std::array<int, 2> sides_of(py::handle value, const Name &name);

/// One value for all of `count`, or one for each, converted by `convert(item, name)`.
template <size_t count, typename Convert>
auto repeated(py::handle value, const Name &name, const Convert &convert) {
    std::array<decltype(convert(value, name)), count> values;
    if (!is_sequence(value)) {
        values.fill(convert(value, name));
        return values;
    }
    Items items(value, name, "a sequence");
    require(items.size() == count, name.text(), " has ", items.size(), " values, expected one or ", count);
    for (size_t i = 0; i < count; ++i) {
        values[i] = convert(items[i], name[i]);
    }
    return values;
}

std::array<float, 3> floats_of(py::handle value, const Name &name);
std::array<int, 2> ints_of(py::handle value, const Name &name);

}  // namespace retinaface::bindings
