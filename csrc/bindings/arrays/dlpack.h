#pragma once

#include <cstdint>

namespace retinaface::bindings {

// The part of the binary interface of DLPack's unversioned capsules (https://dmlc.github.io/dlpack) that is needed
// here. Field order and sizes are the standard's; the names are this project's.

enum DlDeviceType : int32_t { kDlCpu = 1, kDlCuda = 2, kDlCudaHost = 3, kDlCudaManaged = 13 };
enum DlTypeCode : uint8_t { kDlInt = 0, kDlUInt = 1, kDlFloat = 2, kDlBFloat = 4 };

struct DlDevice {
    int32_t type;
    int32_t id;
};

struct DlDataType {
    uint8_t code;
    uint8_t bits;
    uint16_t lanes;
};

struct DlTensor {
    void *data;
    DlDevice device;
    int32_t num_dims;
    DlDataType dtype;
    int64_t *shape;
    int64_t *strides;  // in elements; null when contiguous
    uint64_t byte_offset;
};

struct DlManagedTensor {
    DlTensor tensor;
    void *context;
    void (*deleter)(DlManagedTensor *self);
};

constexpr const char *kDlCapsule = "dltensor";  // a consumer renames it

}  // namespace retinaface::bindings
