#pragma once

#include <vector>

#include "bindings/arrays/array.h"

namespace retinaface::bindings {

/// An operator's results, not initialised: NumPy arrays or DeviceArrays, at the place of its inputs.
class Results {
  public:
    explicit Results(const Place &place) : place_(place) {}

    float *floats(const Shape &shape) { return static_cast<float *>(add(ElementType::kFloat32, shape)); }
    int32_t *ints(const Shape &shape) { return static_cast<int32_t *>(add(ElementType::kInt32, shape)); }
    void *add(ElementType type, const Shape &shape);
    /// Uses the caller's array for a result, instead of a new one.
    void *adopt(const py::object &object, const std::string &name, ElementType type, const Shape &shape);
    void add_none() { objects_.push_back(py::none()); }

    /// Returns the results in the order they were added. Call it after the work that fills them is queued.
    py::tuple take();

  private:
    Place place_;
    std::vector<py::object> objects_;
};

}  // namespace retinaface::bindings
