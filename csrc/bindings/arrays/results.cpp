#include "bindings/arrays/results.h"

#ifdef RETINAFACE_HAS_CUDA
#include "bindings/arrays/device_array.h"
#endif

namespace retinaface::bindings {

void *Results::add(ElementType type, const Shape &shape) {
    if (place_.on_host()) {
        py::array array(py::dtype(name_of(type)), shape);
        objects_.push_back(array);
        return array.mutable_data();
    }
#ifdef RETINAFACE_HAS_CUDA
    objects_.push_back(py::cast(DeviceArray(type, shape, place_.device)));
    return objects_.back().cast<DeviceArray &>().data();
#else
    return nullptr;  // place_of refuses device arrays
#endif
}

void *Results::adopt(const py::object &object, const std::string &name, ElementType type, const Shape &shape) {
    Array array = view(object, name, place_);
    array.expect(type, shape);
    require(array.writable, name, " is read-only, expected an array to write to");
    objects_.push_back(object);
    return array.data;
}

py::tuple Results::take() {
#ifdef RETINAFACE_HAS_CUDA
    for (const py::object &object : objects_) {
        if (py::isinstance<DeviceArray>(object)) {
            object.cast<DeviceArray &>().filled_by(place_);
        }
    }
#endif
    py::tuple taken(objects_.size());
    for (size_t i = 0; i < objects_.size(); ++i) {
        taken[i] = objects_[i];
    }
    return taken;
}

}  // namespace retinaface::bindings
