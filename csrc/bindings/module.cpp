#include <pybind11/pybind11.h>

PYBIND11_MODULE(_native, module) { module.doc() = "Operators of the RetinaFace engine; use engine.ops."; }
