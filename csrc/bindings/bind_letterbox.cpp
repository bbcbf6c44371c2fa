#include <pybind11/stl.h>

#include <array>

#include "bindings/arrays/array.h"
#include "bindings/arrays/results.h"
#include "bindings/operators.h"
#include "ops/letterbox.h"
#ifdef RETINAFACE_HAS_CUDA
#include "bindings/arrays/launch.h"
#endif

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

ElementType output_type(const std::string &dtype) {
    require(dtype == "float32" || dtype == "float16", "dtype is '", dtype, "', expected 'float32' or 'float16'");
    return dtype == "float32" ? ElementType::kFloat32 : ElementType::kFloat16;
}

/// The place of the images; without images, that of `out`.
Place place_of_images(const std::vector<py::object> &images, const py::object &out, const py::object &stream) {
    if (!images.empty()) {
        return place_of(images[0], "images[0]", stream);
    }
    return out.is_none() ? Place{} : place_of(out.cast<py::tuple>()[0], "out[0]", stream);
}

py::tuple letterbox(const std::vector<py::object> &images, std::pair<int, int> size, std::array<float, 3> mean,
                    std::array<float, 3> std, bool swap_rb, std::array<uint8_t, 3> pad_value, bool enlarge,
                    const std::string &dtype, const py::object &out, bool channels_last, int threads,
                    const py::object &stream) {
    Place place = place_of_images(images, out, stream);
    ElementType type = output_type(dtype);
    LetterboxParams params;
    params.batch = static_cast<int>(images.size());
    params.out_height = size.first;
    params.out_width = size.second;
    std::copy(mean.begin(), mean.end(), params.mean);
    std::copy(std.begin(), std.end(), params.std);
    std::copy(pad_value.begin(), pad_value.end(), params.pad_value);
    params.swap_rb = swap_rb;
    params.enlarge = enlarge;
    params.dtype = float_type(type);

    std::vector<Array> arrays;  // keeps them alive while the operator runs
    std::vector<ImageView> views;
    for (size_t i = 0; i < images.size(); ++i) {
        arrays.push_back(view(images[i], "images[" + std::to_string(i) + "]", place));
        views.push_back(image_view(arrays.back()));
    }
    validate_letterbox(params, views.data());
    require(threads >= 0, "threads is ", threads, ", expected at least 0");
    require(place.on_host() || !channels_last, "channels_last is for host arrays, images[0] is on a device");

    // On the host the operator writes float32, and a float16 result is rounded from it.
    bool round = place.on_host() && type == ElementType::kFloat16;
    require(!round || out.is_none(), "dtype is 'float16', expected 'float32' where out is a host array");
    type = round ? ElementType::kFloat32 : type;

    Shape batch_shape{params.batch, 3, params.out_height, params.out_width}, transforms_shape{params.batch, 3};
    if (channels_last) {
        batch_shape = {params.batch, params.out_height, params.out_width, 3};
    }
    Results results(place);
    void *batch, *transforms;
    if (out.is_none()) {
        batch = results.add(type, batch_shape);
        transforms = results.floats(transforms_shape);
    } else {
        auto [first, second] = out.cast<std::pair<py::object, py::object>>();
        batch = results.adopt(first, "out[0]", type, batch_shape);
        transforms = results.adopt(second, "out[1]", ElementType::kFloat32, transforms_shape);
    }
    if (place.on_host()) {
        py::gil_scoped_release unlocked;
        letterbox_cpu(params, views.data(), static_cast<float *>(batch), static_cast<float *>(transforms),
                      channels_last ? HostLayout::kChannelsLast : HostLayout::kChannelsFirst, threads);
    }
#ifdef RETINAFACE_HAS_CUDA
    if (!place.on_host()) {
        launch("letterbox", place, 0, [&](void *, size_t, cudaStream_t cuda_stream) {
            return letterbox_cuda(params, views.data(), batch, static_cast<float *>(transforms), cuda_stream);
        });
    }
#endif
    py::tuple taken = results.take();
    return round ? py::make_tuple(taken[0].attr("astype")("float16"), taken[1]) : taken;
}

UnletterboxParams unletterbox_params(const Array &boxes) {
    boxes.expect_dims(3, "[N, M, 4]");
    UnletterboxParams params;
    params.batch = boxes.int_extent(0);
    params.slots = boxes.int_extent(1);
    return params;
}

py::tuple unletterbox(const py::object &boxes, const py::object &landmarks, const py::object &count,
                      const std::vector<std::pair<int, int>> &image_sizes, std::pair<int, int> size, bool enlarge,
                      const py::object &stream) {
    Place place = place_of(boxes, "boxes", stream);
    UnletterboxParams params = unletterbox_params(view(boxes, "boxes", place));
    params.has_landmarks = !landmarks.is_none();
    require(static_cast<int64_t>(image_sizes.size()) == params.batch, "image_sizes has ", image_sizes.size(),
            " entries, expected ", params.batch, ", one for each image of boxes");
    const auto placements = unletterbox_placements(image_sizes, size.first, size.second, enlarge);
    std::vector<Array> arrays;  // keeps them alive while the operator runs
    auto floats = [&](const py::object &object, const char *name, const Shape &shape) {
        const Array &array = arrays.emplace_back(view(object, name, place));
        array.expect(ElementType::kFloat32, shape);
        if (!place.on_host()) {
            array.expect_alignment(2 * sizeof(float));  // the kernel reads points
        }
        return array.floats();
    };
    Shape box_shape{params.batch, params.slots, 4}, landmark_shape{params.batch, params.slots, kLandmarkValues};
    UnletterboxInputs inputs;
    inputs.boxes = floats(boxes, "boxes", box_shape);
    inputs.landmarks = params.has_landmarks ? floats(landmarks, "landmarks", landmark_shape) : nullptr;
    arrays.push_back(view(count, "count", place));
    arrays.back().expect(ElementType::kInt32, {params.batch});
    inputs.count = arrays.back().ints();

    Results results(place);
    UnletterboxOutputs outputs;
    outputs.boxes = results.floats(box_shape);
    if (params.has_landmarks) {
        outputs.landmarks = results.floats(landmark_shape);
    } else {
        results.add_none();
    }
    if (place.on_host()) {
        py::gil_scoped_release unlocked;
        unletterbox_cpu(params, placements.data(), inputs, outputs);
    }
#ifdef RETINAFACE_HAS_CUDA
    if (!place.on_host()) {
        launch("unletterbox", place, 0, [&](void *, size_t, cudaStream_t cuda_stream) {
            return unletterbox_cuda(params, placements.data(), inputs, outputs, cuda_stream);
        });
    }
#endif
    return results.take();
}

}  // namespace

void bind_letterbox(py::module_ &module) {
    module.def("letterbox", &letterbox, py::arg("images"), py::arg("size"), py::kw_only(), py::arg("mean"),
               py::arg("std"), py::arg("swap_rb"), py::arg("pad_value"), py::arg("enlarge"), py::arg("dtype"),
               py::arg("out") = py::none(), py::arg("channels_last") = false, py::arg("threads") = 0,
               py::arg("stream") = py::none());
    module.def("unletterbox", &unletterbox, py::arg("boxes"), py::arg("landmarks"), py::arg("count"),
               py::arg("image_sizes"), py::arg("size"), py::kw_only(), py::arg("enlarge"),
               py::arg("stream") = py::none());
}

}  // namespace retinaface::bindings
