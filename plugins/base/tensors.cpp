#include "tensors.h"

#include <string>
#include <vector>

#include "common/check.h"

namespace retinaface {
namespace {

/// "[2, -1, 7]"; -1 is an unknown extent.
template <typename Extents>
std::string join(const Extents &extents) {
    std::string list;
    for (int64_t extent : extents) {
        list += (list.empty() ? "" : ", ") + std::to_string(extent);
    }
    return "[" + list + "]";
}

[[noreturn]] void refuse_dims(const std::vector<int64_t> &dims, std::initializer_list<int64_t> expected,
                              const char *tensor, int level) {
    const std::string place = level >= 0 ? text(" of level ", level) : "";
    throw InvalidArgument(text(tensor, place, ": expected the shape ", join(expected), ", got ", join(dims)));
}

}  // namespace

void require_dims(const nvinfer1::Dims &dims, std::initializer_list<int64_t> expected, const char *tensor, int level) {
    bool equal = dims.nbDims == static_cast<int32_t>(expected.size());
    for (int32_t i = 0; equal && i < dims.nbDims; ++i) {
        equal = dims.d[i] == expected.begin()[i];
    }
    if (!equal) {
        refuse_dims({dims.d, dims.d + (dims.nbDims > 0 ? dims.nbDims : 0)}, expected, tensor, level);
    }
}

void require_dims(const nvinfer1::DimsExprs &dims, std::initializer_list<int64_t> expected, const char *tensor,
                  int level) {
    std::vector<int64_t> known;
    bool equal = dims.nbDims == static_cast<int32_t>(expected.size());
    for (int32_t i = 0; i < dims.nbDims; ++i) {
        known.push_back(dims.d[i]->isConstant() ? dims.d[i]->getConstantValue() : -1);
        equal = equal && (known[i] == -1 || expected.begin()[i] == -1 || known[i] == expected.begin()[i]);
    }
    if (!equal) {
        refuse_dims(known, expected, tensor, level);
    }
}

bool is_linear(const nvinfer1::DynamicPluginTensorDesc &tensor, nvinfer1::DataType type) {
    return tensor.desc.format == nvinfer1::TensorFormat::kLINEAR && tensor.desc.type == type;
}

DType dtype_of(nvinfer1::DataType type) {
    require(
        type == nvinfer1::DataType::kFLOAT || type == nvinfer1::DataType::kHALF || type == nvinfer1::DataType::kBF16,
        "expected a tensor of type FLOAT, HALF or BF16, got type ", static_cast<int32_t>(type));
    return type == nvinfer1::DataType::kFLOAT  ? DType::kFloat32
           : type == nvinfer1::DataType::kHALF ? DType::kFloat16
                                               : DType::kBFloat16;
}

}  // namespace retinaface
