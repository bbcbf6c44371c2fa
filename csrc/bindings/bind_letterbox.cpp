#include <pybind11/stl.h>

#include <array>

#include "bindings/array.h"
#include "bindings/operators.h"
#include "bindings/results.h"
#include "ops/letterbox.h"

namespace retinaface::bindings {
namespace {

/// Rows may lie apart (a crop of a larger image); the pixels of a row and the channels of a pixel may not.
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

py::tuple letterbox(const std::vector<py::object> &images, std::pair<int, int> size, std::array<float, 3> mean,
                    std::array<float, 3> std, bool swap_rb, std::array<uint8_t, 3> pad_value, bool enlarge) {
    Place place;
    LetterboxParams params;
    params.batch = static_cast<int>(images.size());
    params.out_height = size.first;
    params.out_width = size.second;
    std::copy(mean.begin(), mean.end(), params.mean);
    std::copy(std.begin(), std.end(), params.std);
    std::copy(pad_value.begin(), pad_value.end(), params.pad_value);
    params.swap_rb = swap_rb;
    params.enlarge = enlarge;

    std::vector<Array> arrays;  // keeps them alive while the operator runs
    std::vector<ImageView> views;
    for (size_t i = 0; i < images.size(); ++i) {
        arrays.push_back(view(images[i], "images[" + std::to_string(i) + "]", place));
        views.push_back(image_view(arrays.back()));
    }
    validate_letterbox(params, views.data());

    Results results(place);
    float *batch = results.floats({params.batch, 3, params.out_height, params.out_width});
    float *transforms = results.floats({params.batch, 3});
    {
        py::gil_scoped_release unlocked;
        letterbox_cpu(params, views.data(), batch, transforms);
    }
    return results.take();
}

py::tuple placement(int height, int width, std::pair<int, int> size, bool enlarge) {
    LetterboxPlacement p = letterbox_placement(height, width, size.first, size.second, enlarge);
    return py::make_tuple(p.scale, p.height, p.width, p.pad_x, p.pad_y);
}

}  // namespace

void bind_letterbox(py::module_ &module) {
    module.def("letterbox", &letterbox, py::arg("images"), py::arg("size"), py::kw_only(), py::arg("mean"),
               py::arg("std"), py::arg("swap_rb"), py::arg("pad_value"), py::arg("enlarge"));
    module.def("letterbox_placement", &placement, py::arg("height"), py::arg("width"), py::arg("size"), py::kw_only(),
               py::arg("enlarge"));
}

}  // namespace retinaface::bindings
