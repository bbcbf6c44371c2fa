#pragma once

#include "bindings/arrays/device_array.h"
#include "bindings/arrays/unlocked.h"

namespace retinaface::bindings {

/// Calls `op(workspace, bytes, stream)`, which returns a cudaError_t, with the place's device and stream, without the
/// GIL.
template <typename Operator>
void launch(const char *what, const Place &place, size_t workspace_bytes, const Operator &op) {
    Unlocked unlocked;
    DeviceGuard guard(place.device);
    auto stream = static_cast<cudaStream_t>(place.stream);
    StreamWorkspace workspace(workspace_bytes, stream);
    check(op(workspace.data(), workspace_bytes, stream), what);
}

}  // namespace retinaface::bindings
