#pragma once

#include <pybind11/pybind11.h>

namespace retinaface::bindings {

/// Each adds one operator to the module.
void bind_align(pybind11::module_ &module);
void bind_anchor_decode(pybind11::module_ &module);
void bind_batched_nms(pybind11::module_ &module);
void bind_deform_conv(pybind11::module_ &module);
void bind_letterbox(pybind11::module_ &module);

}  // namespace retinaface::bindings
