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
    DeviceArray array(type, shape, place_.device, static_cast<cudaStream_t>(place_.stream));
    objects_.push_back(py::cast(array));
    return array.view_at(place_).data;
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

#ifdef RETINAFACE_HAS_CUDA
std::shared_ptr<Event> Results::keep_memory() const {
    DeviceGuard guard(place_.device);
    auto done = std::make_shared<Event>();
    done->record(static_cast<cudaStream_t>(place_.stream));
    for (const auto &memory : *place_.uses) {
        memory->used_before(done);
    }
    return done;
}
#endif

Results::~Results() {
#ifdef RETINAFACE_HAS_CUDA
    if (!taken_ && !place_.on_host()) {
        try {  // the operator failed, perhaps after it had queued work
            keep_memory();
        } catch (const CudaFailure &) {
        }
    }
#endif
}

py::tuple Results::take() {
    taken_ = true;
#ifdef RETINAFACE_HAS_CUDA
    if (!place_.on_host()) {
        std::shared_ptr<Event> done = keep_memory();
        Place place = place_;
        place.uses = nullptr;  // or the arrays would keep each other
        for (const py::object &object : objects_) {
            if (py::isinstance<DeviceArray>(object)) {
                object.cast<DeviceArray &>().filled_by(place, done);
            }
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
