#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/dtype.h"

namespace retinaface::bindings {

namespace py = pybind11;

enum class ElementType { kFloat32, kFloat16, kBFloat16, kInt32, kUInt8 };

const char *name_of(ElementType type);
int64_t size_of(ElementType type);

/// The DType of a floating-point element type.
DType float_type(ElementType type);

using Shape = std::vector<int64_t>;

std::string to_string(const Shape &shape);
int64_t num_elements(const Shape &shape);
Shape contiguous_strides(const Shape &shape, int64_t item_bytes);

constexpr int kHost = -1;

class DeviceMemory;

/// Where an operator runs: on the host, or on a CUDA device in a stream.
struct Place {
    int device = kHost;
    void *stream = nullptr;    // cudaStream_t
    py::object stream_object;  // the owner of `stream`, which results keep alive
    // What the operator uses, for Results to keep until its work is done.
    std::shared_ptr<std::vector<std::shared_ptr<DeviceMemory>>> uses;

    bool on_host() const { return device == kHost; }
};

/// A view of the caller's array: of a NumPy array, or through DLPack or __cuda_array_interface__.
struct Array {
    std::string name;  // of the argument, for error messages
    void *data = nullptr;
    ElementType type = ElementType::kFloat32;
    Shape shape;
    Shape strides_bytes;
    int device = kHost;
    bool writable = true;
    py::object owner;

    const float *floats() const { return static_cast<const float *>(data); }
    const int32_t *ints() const { return static_cast<const int32_t *>(data); }

    /// Each throws InvalidArgument, naming the argument, if the array is not as expected.
    void expect_type(std::initializer_list<ElementType> allowed) const;
    void expect_shape(const Shape &expected) const;
    void expect_dims(int count, const char *meaning) const;
    void expect_contiguous() const;
    void expect_alignment(int64_t bytes) const;
    void expect(ElementType type, const Shape &shape) const;  // contiguous and aligned, too

    /// shape[axis], which must fit an int.
    int int_extent(int axis) const;
};

/// Whether `object` is an array that view() reads.
bool is_array(const py::object &object);

/// The place of an operator whose first array is `first`: the host for a NumPy array; else that array's device, and the
/// stream given as an int or an object (None: the array's own stream, or the default stream).
Place place_of(const py::object &first, const std::string &name, const py::object &stream);

/// Views `object`, which must lie at `place`. The stream of the place waits for work that still fills a device array.
Array view(const py::object &object, const std::string &name, const Place &place);

}  // namespace retinaface::bindings
