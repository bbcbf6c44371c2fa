#pragma once

#include <vector>

#include "bindings/array.h"

namespace retinaface::bindings {

/// An operator's results: NumPy arrays or DeviceArrays, where its inputs are. Not initialised.
class Results {
  public:
    explicit Results(const Place &place) : place_(place) {}

    float *floats(const Shape &shape) { return static_cast<float *>(add(ElementType::kFloat32, shape)); }
    int32_t *ints(const Shape &shape) { return static_cast<int32_t *>(add(ElementType::kInt32, shape)); }
    void *add(ElementType type, const Shape &shape);
    /// The caller's own array for a result, instead of a new one.
    void *adopt(const py::object &object, const std::string &name, ElementType type, const Shape &shape);
    void add_none() { objects_.push_back(py::none()); }

    /// The results in the order they were added, once the work that fills them is queued.
    py::tuple take();

  private:
    Place place_;
    std::vector<py::object> objects_;
};

}  // namespace retinaface::bindings
