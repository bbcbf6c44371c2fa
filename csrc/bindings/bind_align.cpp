#include "bindings/arguments/arguments.h"
#include "bindings/arrays/array.h"
#include "bindings/arrays/results.h"
#include "bindings/arrays/unlocked.h"
#include "bindings/images.h"
#include "bindings/operators.h"
#include "common/landmarks.h"
#include "ops/align.h"
#ifdef RETINAFACE_HAS_CUDA
#include "bindings/arrays/launch.h"
#endif

namespace retinaface::bindings {
namespace {

void read_template(const py::object &value, float *points) {
    const Name name("template");
    const Items given(value, name, "five points x and y");
    require(given.size() == kLandmarkPoints, "template has ", given.size(), " points, expected ", kLandmarkPoints);
    for (size_t i = 0; i < kLandmarkPoints; ++i) {
        const Name of_point = name[i];
        const py::object item = given[i];
        const Items point(item, of_point, "a point x and y");
        require(point.size() == 2, of_point.text(), " has ", point.size(), " values, expected 2: x and y");
        for (size_t axis = 0; axis < 2; ++axis) {
            points[2 * i + axis] = float_of(point[axis], of_point[axis]);
        }
    }
}

/// On the host; those on a device cannot be read here.
void require_indices(const int32_t *indices, const AlignParams &params) {
    for (int face = 0; face < params.faces; ++face) {
        require(0 <= indices[face] && indices[face] < params.images, "image_indices[", face, "] is ", indices[face],
                ", expected the index of one of ", params.images, " images");
    }
}

/// A small argument as an array at the place of the images: one of NumPy is copied to their device.
py::object at_place(const py::object &given, [[maybe_unused]] const char *name, [[maybe_unused]] const Place &place) {
#ifdef RETINAFACE_HAS_CUDA
    if (!place.on_host() && py::isinstance<py::array>(given)) {
        return py::cast(DeviceArray::copy_of(view(given, name, Place{}), place));
    }
#endif
    return given;
}

py::tuple align(const py::object &images_given, const py::object &landmarks_given, const py::object &indices_given,
                const py::object &template_given, const py::object &size, const py::object &threads_given,
                const py::object &stream) {
    AlignParams params;
    read_template(template_given, params.template_points);
    const auto sides = sides_of(size, Name("size"));
    params.height = sides[0];
    params.width = sides[1];
    const int threads = int_of(threads_given, Name("threads"));
    require(threads >= 0, "threads is ", threads, ", expected at least 0");
    const py::object sequence = sequence_of_images(images_given);
    const Items images(sequence, Name("images"), kImagesExpected);
    validate_align(params, nullptr);

    const Place place =
        images.size() > 0 ? place_of(images[0], "images[0]", stream) : place_of(landmarks_given, "landmarks", stream);
    const py::object landmarks_here = at_place(landmarks_given, "landmarks", place);
    const Array landmarks = view(landmarks_here, "landmarks", place);
    landmarks.expect_dims(2, "[N, 10]");
    params.faces = landmarks.int_extent(0);
    landmarks.expect(ElementType::kFloat32, {params.faces, kLandmarkValues});
    require(images.size() <= INT32_MAX, "images has ", images.size(), " images, expected fewer than 2^31");
    params.images = static_cast<int>(images.size());
    AlignInputs inputs{landmarks.floats(), nullptr};
    py::object indices_here;
    if (indices_given.is_none()) {
        require(params.images <= 1, "image_indices is None, expected the image of each face, because images has ",
                params.images, " images");
    } else {
        indices_here = at_place(indices_given, "image_indices", place);
        const Array indices = view(indices_here, "image_indices", place);
        indices.expect(ElementType::kInt32, {params.faces});
        inputs.image_indices = indices.ints();
    }
    const ImageArrays arrays(images, place);
    validate_align(params, arrays.views.data());
    if (place.on_host() && inputs.image_indices != nullptr) {
        require_indices(inputs.image_indices, params);
    }

    Results results(place);
    AlignOutputs outputs;
    outputs.crops =
        static_cast<uint8_t *>(results.add(ElementType::kUInt8, {params.faces, params.height, params.width, 3}));
    outputs.transforms = results.floats({params.faces, 2, 3});
    if (place.on_host()) {
        Unlocked unlocked;
        align_cpu(params, arrays.views.data(), inputs, outputs, threads);
    }
#ifdef RETINAFACE_HAS_CUDA
    if (!place.on_host()) {
        launch("align", place, 0, [&](void *, size_t, cudaStream_t cuda_stream) {
            return align_cuda(params, arrays.views.data(), inputs, outputs, cuda_stream);
        });
    }
#endif
    return results.take();
}

}  // namespace

void bind_align(py::module_ &module) {
    module.def("align", &align, py::arg("images"), py::arg("landmarks"), py::arg("image_indices"), py::kw_only(),
               py::arg("template"), py::arg("size"), py::arg("threads") = 0, py::arg("stream") = py::none());
}

}  // namespace retinaface::bindings
