#include "bindings/arrays/array.h"

#include <algorithm>
#include <limits>

namespace retinaface::bindings {

const char *name_of(ElementType type) {
    switch (type) {
        case ElementType::kFloat32:
            return "float32";
        case ElementType::kFloat16:
            return "float16";
        case ElementType::kBFloat16:
            return "bfloat16";
        case ElementType::kInt32:
            return "int32";
        default:
            return "uint8";
    }
}

int64_t size_of(ElementType type) {
    switch (type) {
        case ElementType::kFloat32:
        case ElementType::kInt32:
            return 4;
        case ElementType::kUInt8:
            return 1;
        default:
            return 2;
    }
}

DType float_type(ElementType type) {
    return type == ElementType::kFloat32   ? DType::kFloat32
           : type == ElementType::kFloat16 ? DType::kFloat16
                                           : DType::kBFloat16;
}

std::string to_string(const Shape &shape) {
    std::string text = "[";
    for (size_t i = 0; i < shape.size(); ++i) {
        text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
    }
    return text + "]";
}

int64_t num_elements(const Shape &shape) {
    int64_t product = 1;
    for (int64_t extent : shape) {
        product *= extent;
    }
    return product;
}

Shape contiguous_strides(const Shape &shape, int64_t item_bytes) {
    Shape strides(shape.size());
    int64_t step = item_bytes;
    for (size_t i = shape.size(); i-- > 0;) {
        strides[i] = step;
        step *= shape[i];
    }
    return strides;
}

void Array::expect_type(std::initializer_list<ElementType> allowed) const {
    if (std::find(allowed.begin(), allowed.end(), type) != allowed.end()) {
        return;
    }
    std::string names;
    for (ElementType one : allowed) {
        names += (names.empty() ? "" : " or ") + std::string(name_of(one));
    }
    throw InvalidArgument(name + " has dtype " + name_of(type) + ", expected " + names);
}

void Array::expect_shape(const Shape &expected) const {
    require(shape == expected, name, " has shape ", to_string(shape), ", expected ", to_string(expected));
}

void Array::expect_dims(int count, const char *meaning) const {
    require(static_cast<int>(shape.size()) == count, name, " has shape ", to_string(shape), ", expected ", meaning);
}

void Array::expect_contiguous() const {
    Shape expected = contiguous_strides(shape, size_of(type));
    bool empty = num_elements(shape) == 0;
    for (size_t i = 0; i < shape.size(); ++i) {
        // The stride along an extent of 1 is never used and may be anything.
        require(empty || shape[i] == 1 || strides_bytes[i] == expected[i], name,
                " is not C-contiguous: it has strides ", to_string(strides_bytes), " bytes, expected ",
                to_string(expected));
    }
}

void Array::expect_alignment(int64_t bytes) const {
    require(reinterpret_cast<uintptr_t>(data) % bytes == 0, name, " starts at an address that is not a multiple of ",
            bytes, " bytes, expected an aligned array: copy it");
}

void Array::expect(ElementType expected_type, const Shape &expected_shape) const {
    expect_type({expected_type});
    expect_shape(expected_shape);
    expect_contiguous();
    expect_alignment(size_of(type));
}

int Array::int_extent(int axis) const {
    require(shape[axis] <= std::numeric_limits<int>::max(), name, " has shape ", to_string(shape),
            ", expected extents below 2^31");
    return static_cast<int>(shape[axis]);
}

}  // namespace retinaface::bindings
