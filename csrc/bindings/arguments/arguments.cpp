#include "bindings/arguments/arguments.h"

#include <pybind11/numpy.h>

#include <cmath>
#include <cstring>
#include <limits>

namespace retinaface::bindings {
namespace {

constexpr size_t kMostShown = 80;

/// Forgets the exception of a failed conversion; one that is no error, such as KeyboardInterrupt, is thrown.
void forget_error() {
    if (PyErr_ExceptionMatches(PyExc_Exception) == 0) {
        throw py::error_already_set();
    }
    PyErr_Clear();
}

std::string utf8(py::handle text) {
    auto bytes = py::reinterpret_steal<py::object>(PyUnicode_AsEncodedString(text.ptr(), "utf-8", "backslashreplace"));
    if (!bytes) {
        forget_error();
        return "?";
    }
    return {PyBytes_AS_STRING(bytes.ptr()), static_cast<size_t>(PyBytes_GET_SIZE(bytes.ptr()))};
}

bool starts_with(const char *text, const char *start) {
    return std::strncmp(text, start, std::strlen(start)) == 0;
}

/// Also NumPy's bool, whose name has no underscore since NumPy 2.
bool is_bool(py::handle value) {
    return PyBool_Check(value.ptr()) != 0 || starts_with(Py_TYPE(value.ptr())->tp_name, "numpy.bool");
}

/// Whether a value claims to be one real number. Arrays with several, and complex numbers, convert in part.
bool is_real(py::handle value) {
    if (is_bool(value) || starts_with(Py_TYPE(value.ptr())->tp_name, "numpy.complex")) {
        return false;
    }
    if (!py::isinstance<py::array>(value)) {
        return true;
    }
    auto array = py::reinterpret_borrow<py::array>(value);
    return array.ndim() == 0 && std::strchr("iuf", array.dtype().kind()) != nullptr;
}

}  // namespace

std::string Name::text() const {
    return whole_ == nullptr ? argument_ : whole_->text() + "[" + std::to_string(index_) + "]";
}

std::string shown(py::handle value) {
    auto ascii = py::reinterpret_steal<py::object>(PyObject_ASCII(value.ptr()));
    if (!ascii) {  // an integer of too many digits, or a type that cannot show itself
        forget_error();
        return "a value of type " + type_name(value);
    }
    std::string line;
    for (char letter : utf8(ascii)) {
        bool gap = letter == ' ' || letter == '\n';
        if (!gap || line.empty() || line.back() != ' ') {
            line += gap ? ' ' : letter;
        }
        if (line.size() > kMostShown) {
            return line.substr(0, kMostShown - 3) + "...";
        }
    }
    return line;
}

std::string shown(const py::error_already_set &error) {
    std::string type = type_name(error.value());
    auto message = py::reinterpret_steal<py::object>(PyObject_Str(error.value().ptr()));
    if (!message) {
        forget_error();
        return type;
    }
    return type + ": " + utf8(message);
}

std::string type_name(py::handle value) {
    std::string name = Py_TYPE(value.ptr())->tp_name;
    return name.substr(name.rfind('.') + 1);
}

void refuse(const Name &name, py::handle value, const char *expected) {
    throw InvalidArgument(name.text() + " is " + shown(value) + ", expected " + expected);
}

bool bool_of(py::handle value, const Name &name) {
    if (value.ptr() == Py_True || value.ptr() == Py_False) {
        return value.ptr() == Py_True;
    }
    if (!is_bool(value)) {
        refuse(name, value, "True or False");
    }
    return PyObject_IsTrue(value.ptr()) == 1;
}

int int_of(py::handle value, const Name &name) {
    if (is_bool(value)) {
        refuse(name, value, "an integer");
    }
    auto index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
    if (!index) {
        forget_error();
        refuse(name, value, "an integer");
    }
    int overflow = 0;
    long long number = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
    if (overflow != 0 || number != static_cast<int>(number)) {
        refuse(name, value, "an integer of at most 32 bits");
    }
    return static_cast<int>(number);
}

float float_of(py::handle value, const Name &name, const char *expected) {
    constexpr const char *kFits = "a number of at most 3.4e38, as float32 holds";
    if (PyFloat_CheckExact(value.ptr()) == 0 && !is_real(value)) {
        refuse(name, value, expected);
    }
    double number = PyFloat_AsDouble(value.ptr());
    if (number == -1.0 && PyErr_Occurred() != nullptr) {
        bool too_large = PyErr_ExceptionMatches(PyExc_OverflowError) != 0;
        forget_error();
        refuse(name, value, too_large ? kFits : expected);
    }
    if (std::isfinite(number) && std::abs(number) > std::numeric_limits<float>::max()) {
        refuse(name, value, kFits);
    }
    return static_cast<float>(number);
}

std::string text_of(py::handle value, const Name &name, const char *expected) {
    if (PyUnicode_Check(value.ptr()) == 0) {
        refuse(name, value, expected);
    }
    return utf8(value);
}

bool is_sequence(py::handle value) {
    PyObject *object = value.ptr();
    if (PyTuple_Check(object) != 0 || PyList_Check(object) != 0) {
        return true;
    }
    if (PySequence_Check(object) == 0 || PyUnicode_Check(object) != 0 || PyBytes_Check(object) != 0 ||
        PyByteArray_Check(object) != 0) {
        return false;
    }
    return !py::isinstance<py::array>(value) || py::reinterpret_borrow<py::array>(value).ndim() > 0;
}

Items::Items(py::handle value, const Name &name, const char *expected) : value_(value), name_(name) {
    py::ssize_t size = is_sequence(value) ? PySequence_Size(value.ptr()) : -1;
    if (size < 0) {
        if (PyErr_Occurred() != nullptr) {
            forget_error();
        }
        refuse(name, value, expected);
    }
    size_ = static_cast<size_t>(size);
}

py::object Items::operator[](size_t index) const {
    auto item = py::reinterpret_steal<py::object>(PySequence_GetItem(value_.ptr(), static_cast<py::ssize_t>(index)));
    if (!item) {
        forget_error();
        throw InvalidArgument(name_[index].text() + " cannot be read, expected a sequence of " + std::to_string(size_));
    }
    return item;
}

std::array<int, 2> sides_of(py::handle value, const Name &name) {
    Items sides(value, name, "a height and a width");
    require(sides.size() == 2, name.text(), " has ", sides.size(), " values, expected 2: height and width");
    return {int_of(sides[0], name[0]), int_of(sides[1], name[1])};
}

std::array<float, 3> floats_of(py::handle value, const Name &name) {
    return repeated<3>(value, name, [](py::handle item, const Name &part) { return float_of(item, part); });
}

std::array<int, 2> ints_of(py::handle value, const Name &name) {
    return repeated<2>(value, name, int_of);
}

}  // namespace retinaface::bindings
