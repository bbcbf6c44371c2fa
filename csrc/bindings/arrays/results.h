#pragma once

#include <memory>
#include <vector>

#include "bindings/arrays/array.h"

namespace retinaface::bindings {

class Event;

/// An operator's results, not initialised: NumPy arrays or DeviceArrays, at the place of its inputs.
class Results {
  public:
    explicit Results(const Place &place) : place_(place) {}
    ~Results();
    Results(const Results &) = delete;
    Results &operator=(const Results &) = delete;

    float *floats(const Shape &shape) { return static_cast<float *>(add(ElementType::kFloat32, shape)); }
    int32_t *ints(const Shape &shape) { return static_cast<int32_t *>(add(ElementType::kInt32, shape)); }
    void *add(ElementType type, const Shape &shape);
    /// Uses the caller's array for a result, instead of a new one.
    void *adopt(const py::object &object, const std::string &name, ElementType type, const Shape &shape);
    void add_none() { objects_.push_back(py::none()); }

    /// Returns the results in the order they were added. Call it after the work that fills them is queued.
    py::tuple take();

  private:
    /// Keeps all memory that the operator uses until the work that is queued now is done.
    std::shared_ptr<Event> keep_memory() const;

    Place place_;
    bool taken_ = false;
    std::vector<py::object> objects_;
};

}  // namespace retinaface::bindings
