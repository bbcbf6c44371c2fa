#include "bindings/images.h"

#include <string>

namespace retinaface::bindings {
namespace {

/// Rows may have any pitch (a crop of a larger image); the pixels of a row and the channels of a pixel must be
/// adjacent.
ImageView image_view(const Array &array) {
    array.expect_type({ElementType::kUInt8});
    array.expect_dims(3, "[height, width, 3]");
    array.expect_shape({array.shape[0], array.shape[1], 3});
    bool dense = array.strides_bytes[2] == 1 && (array.shape[1] == 1 || array.strides_bytes[1] == 3);
    require(dense, array.name, " has strides ", to_string(array.strides_bytes),
            " bytes, expected rows of adjacent pixels of 3 adjacent channels");
    int64_t row_bytes = 3 * array.shape[1];
    return {static_cast<const uint8_t *>(array.data), array.int_extent(0), array.int_extent(1),
            array.shape[0] == 1 ? row_bytes : array.strides_bytes[0]};
}

bool is_one_image(const py::object &value) {
    return py::isinstance<py::array>(value) ? py::reinterpret_borrow<py::array>(value).ndim() == 3 : is_array(value);
}

}  // namespace

py::object sequence_of_images(const py::object &given) {
    return is_one_image(given) ? py::make_tuple(given) : given;
}

ImageArrays::ImageArrays(const Items &images, const Place &place) {
    for (size_t i = 0; i < images.size(); ++i) {
        arrays.push_back(view(images[i], "images[" + std::to_string(i) + "]", place));
        views.push_back(image_view(arrays.back()));
    }
}

}  // namespace retinaface::bindings
