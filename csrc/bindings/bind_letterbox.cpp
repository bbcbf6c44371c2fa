#include <array>
#include <cmath>
#include <vector>

#include "bindings/arguments/arguments.h"
#include "bindings/arrays/array.h"
#include "bindings/arrays/results.h"
#include "bindings/arrays/unlocked.h"
#include "bindings/images.h"
#include "bindings/operators.h"
#include "ops/letterbox.h"
#ifdef RETINAFACE_HAS_CUDA
#include "bindings/arrays/launch.h"
#endif

namespace retinaface::bindings {
namespace {

/// The arrays to write to; none for None.
std::vector<py::object> outputs_of(const py::object &value) {
    if (value.is_none()) {
        return {};
    }
    Items arrays(value, Name("out"), "two arrays: batch and transforms");
    require(arrays.size() == 2, "out has ", arrays.size(), " entries, expected 2: batch and transforms");
    return {arrays[0], arrays[1]};
}

std::array<uint8_t, 3> grey_levels(const py::object &value, const Name &name) {
    std::array<uint8_t, 3> levels;
    const auto numbers = floats_of(value, name);
    for (size_t i = 0; i < levels.size(); ++i) {
        if (!(numbers[i] >= 0.0f && numbers[i] <= 255.0f && std::floor(numbers[i]) == numbers[i])) {
            refuse(name, value, "whole grey levels from 0 to 255");
        }
        levels[i] = static_cast<uint8_t>(numbers[i]);
    }
    return levels;
}

ElementType output_type(const py::object &value) {
    constexpr const char *kExpected = "'float32' or 'float16'";
    const Name name("dtype");
    std::string dtype = text_of(value, name, kExpected);
    if (dtype != "float32" && dtype != "float16") {
        refuse(name, value, kExpected);
    }
    return dtype == "float32" ? ElementType::kFloat32 : ElementType::kFloat16;
}

/// The place of the images; without images, that of `out`.
Place place_of_images(const Items &images, const std::vector<py::object> &out, const py::object &stream) {
    if (images.size() > 0) {
        return place_of(images[0], "images[0]", stream);
    }
    return out.empty() ? Place{} : place_of(out[0], "out[0]", stream);
}

py::tuple letterbox(const py::object &images_given, const py::object &size, const py::object &mean,
                    const py::object &std, const py::object &swap_rb, const py::object &pad_value,
                    const py::object &enlarge, const py::object &dtype, const py::object &out_given,
                    const py::object &channels_last_given, const py::object &threads_given, const py::object &stream) {
    ElementType type = output_type(dtype);
    LetterboxParams params;
    const auto sides = sides_of(size, Name("size"));
    params.out_height = sides[0];
    params.out_width = sides[1];
    const auto means = floats_of(mean, Name("mean")), deviations = floats_of(std, Name("std"));
    const auto padding = grey_levels(pad_value, Name("pad_value"));
    std::copy(means.begin(), means.end(), params.mean);
    std::copy(deviations.begin(), deviations.end(), params.std);
    std::copy(padding.begin(), padding.end(), params.pad_value);
    params.swap_rb = bool_of(swap_rb, Name("swap_rb"));
    params.enlarge = bool_of(enlarge, Name("enlarge"));
    const bool channels_last = bool_of(channels_last_given, Name("channels_last"));
    const int threads = int_of(threads_given, Name("threads"));
    const auto out = outputs_of(out_given);
    const py::object sequence = sequence_of_images(images_given);
    const Items images(sequence, Name("images"), kImagesExpected);
    Place place = place_of_images(images, out, stream);
    params.dtype = float_type(type);
    validate_letterbox(params, nullptr);
    require(threads >= 0, "threads is ", threads, ", expected at least 0");
    require(place.on_host() || !channels_last, "channels_last is for host arrays, images[0] is on a device");

    // On the host the operator writes float32, and a float16 result is rounded from it.
    bool round = place.on_host() && type == ElementType::kFloat16;
    require(!round || out.empty(), "dtype is 'float16', expected 'float32' where out is a host array");
    type = round ? ElementType::kFloat32 : type;

    require(images.size() <= INT32_MAX, "images has ", images.size(), " images, expected fewer than 2^31");
    params.batch = static_cast<int>(images.size());
    Shape batch_shape{params.batch, 3, params.out_height, params.out_width}, transforms_shape{params.batch, 3};
    if (channels_last) {
        batch_shape = {params.batch, params.out_height, params.out_width, 3};
    }
    Results results(place);
    void *batch, *transforms;
    if (out.empty()) {
        batch = results.add(type, batch_shape);
        transforms = results.floats(transforms_shape);
    } else {
        batch = results.adopt(out[0], "out[0]", type, batch_shape);
        transforms = results.adopt(out[1], "out[1]", ElementType::kFloat32, transforms_shape);
    }
    // After the results: a view repeats an image for nothing, so that memory for these ends before that for the images.
    const ImageArrays arrays(images, place);
    validate_letterbox(params, arrays.views.data());
    if (place.on_host()) {
        Unlocked unlocked;
        letterbox_cpu(params, arrays.views.data(), static_cast<float *>(batch), static_cast<float *>(transforms),
                      channels_last ? HostLayout::kChannelsLast : HostLayout::kChannelsFirst, threads);
    }
#ifdef RETINAFACE_HAS_CUDA
    if (!place.on_host()) {
        launch("letterbox", place, 0, [&](void *, size_t, cudaStream_t cuda_stream) {
            return letterbox_cuda(params, arrays.views.data(), batch, static_cast<float *>(transforms), cuda_stream);
        });
    }
#endif
    py::tuple taken = results.take();
    return round ? py::make_tuple(taken[0].attr("astype")("float16"), taken[1]) : taken;
}

std::vector<std::pair<int, int>> sizes_of(const py::object &value, int batch) {
    const Name name("image_sizes");
    Items items(value, name, "a sequence with the (height, width) of each image");
    require(items.size() == static_cast<size_t>(batch), "image_sizes has ", items.size(), " entries, expected ", batch,
            ", one for each image of boxes");
    std::vector<std::pair<int, int>> sizes;
    for (size_t i = 0; i < items.size(); ++i) {
        const auto sides = sides_of(items[i], name[i]);
        sizes.emplace_back(sides[0], sides[1]);
    }
    return sizes;
}

UnletterboxParams unletterbox_params(const Array &boxes) {
    boxes.expect_dims(3, "[N, M, 4]");
    UnletterboxParams params;
    params.batch = boxes.int_extent(0);
    params.slots = boxes.int_extent(1);
    return params;
}

/// Returns L of landmarks [N, M, 2 L].
int points_of(const Array &landmarks) {
    landmarks.expect_dims(3, "[N, M, 2 L], x and y of L points");
    const int values = landmarks.int_extent(2);
    require(values % 2 == 0 && values >= 2 && values <= kMaxPayload, "landmarks has ", values,
            " values of each face, expected an even number, 2 to ", kMaxPayload, ": x and y of each point");
    return values / 2;
}

py::tuple unletterbox(const py::object &boxes, const py::object &landmarks, const py::object &count,
                      const py::object &image_sizes, const py::object &size, const py::object &enlarge,
                      const py::object &stream) {
    const auto sides = sides_of(size, Name("size"));
    const bool enlarged = bool_of(enlarge, Name("enlarge"));
    Place place = place_of(boxes, "boxes", stream);
    UnletterboxParams params = unletterbox_params(view(boxes, "boxes", place));
    const auto sizes = sizes_of(image_sizes, params.batch);
    const auto placements = unletterbox_placements(sizes, sides[0], sides[1], enlarged);
    std::vector<Array> arrays;  // keeps them alive while the operator runs
    auto floats = [&](const Array &array, const Shape &shape) {
        array.expect(ElementType::kFloat32, shape);
        if (!place.on_host()) {
            array.expect_alignment(2 * sizeof(float));  // the kernel reads points
        }
        return array.floats();
    };
    const Shape box_shape{params.batch, params.slots, 4};
    Shape landmark_shape;
    UnletterboxInputs inputs;
    inputs.boxes = floats(arrays.emplace_back(view(boxes, "boxes", place)), box_shape);
    params.num_points = 0;
    if (!landmarks.is_none()) {
        const Array &array = arrays.emplace_back(view(landmarks, "landmarks", place));
        params.num_points = points_of(array);
        landmark_shape = {params.batch, params.slots, 2 * params.num_points};
        inputs.landmarks = floats(array, landmark_shape);
    }
    arrays.push_back(view(count, "count", place));
    arrays.back().expect(ElementType::kInt32, {params.batch});
    inputs.count = arrays.back().ints();

    Results results(place);
    UnletterboxOutputs outputs;
    outputs.boxes = results.floats(box_shape);
    if (params.num_points > 0) {
        outputs.landmarks = results.floats(landmark_shape);
    } else {
        results.add_none();
    }
    if (place.on_host()) {
        Unlocked unlocked;
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
