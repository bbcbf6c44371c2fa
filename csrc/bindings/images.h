#pragma once

#include <vector>

#include "bindings/arguments/arguments.h"
#include "bindings/arrays/array.h"
#include "ops/image.h"

namespace retinaface::bindings {

constexpr const char *kImagesExpected = "one image or a sequence of images";

/// One image as a sequence of one; anything else as it is.
py::object sequence_of_images(const py::object &given);

/// The callers' images as the operators take them.
struct ImageArrays {
    ImageArrays(const Items &images, const Place &place);

    std::vector<Array> arrays;  // keep the pixels alive
    std::vector<ImageView> views;
};

}  // namespace retinaface::bindings
