#include "plugin_utils.h"

#include <sstream>
#include <stdexcept>

namespace retinaface {
namespace {

const char *name_of(nvinfer1::PluginFieldType type) {
    using Type = nvinfer1::PluginFieldType;
    switch (type) {
        case Type::kFLOAT16:
            return "FLOAT16";
        case Type::kFLOAT32:
            return "FLOAT32";
        case Type::kFLOAT64:
            return "FLOAT64";
        case Type::kINT8:
            return "INT8";
        case Type::kINT16:
            return "INT16";
        case Type::kINT32:
            return "INT32";
        case Type::kINT64:
            return "INT64";
        case Type::kCHAR:
            return "CHAR";
        default:
            return "another type";
    }
}

/// "[2, -1, 7]", -1 standing for an extent that is not known.
template <typename Extents>
std::string join(const Extents &extents) {
    std::ostringstream text;
    const char *separator = "";
    for (int64_t extent : extents) {
        text << separator << extent;
        separator = ", ";
    }
    return "[" + text.str() + "]";
}

[[noreturn]] void refuse_dims(const std::vector<int64_t> &dims, std::initializer_list<int64_t> expected,
                              const char *tensor, int level) {
    std::ostringstream message;
    message << tensor;
    if (level >= 0) {
        message << " of level " << level;
    }
    message << ": expected the shape " << join(expected) << ", got " << join(dims);
    throw InvalidArgument(message.str());
}

}  // namespace

void check_cuda(cudaError_t status, const char *what) {
    if (status != cudaSuccess) {
        throw std::runtime_error(std::string(what) + ": " + cudaGetErrorName(status) + ", " +
                                 cudaGetErrorString(status));
    }
}

FieldReader::FieldReader(const nvinfer1::PluginFieldCollection *fields) {
    require(fields != nullptr && fields->nbFields >= 0 && (fields->nbFields == 0 || fields->fields != nullptr),
            "the field collection is null");
    fields_ = *fields;
}

const nvinfer1::PluginField *FieldReader::find(const char *name, nvinfer1::PluginFieldType type) {
    known_.insert(name);
    const nvinfer1::PluginField *found = nullptr;
    for (int32_t i = 0; i < fields_.nbFields; ++i) {
        const nvinfer1::PluginField &field = fields_.fields[i];
        if (field.name == nullptr || std::string(name) != field.name) {
            continue;
        }
        require(found == nullptr, "attribute '", name, "' is given twice");
        require(field.type == type, "attribute '", name, "': expected ", name_of(type), ", got ", name_of(field.type));
        require(field.length >= 0 && (field.length == 0 || field.data != nullptr), "attribute '", name,
                "': the field holds no data");
        found = &field;
    }
    return found;
}

void FieldReader::finish() const {
    for (int32_t i = 0; i < fields_.nbFields; ++i) {
        const char *name = fields_.fields[i].name;
        require(name != nullptr, "a field has no name");
        require(known_.count(name) != 0, "attribute '", name, "' is not known");
    }
}

void FieldList::add(const char *name, const void *data, nvinfer1::PluginFieldType type, size_t length) {
    if (content_ == kNames) {
        fields_.emplace_back(name, nullptr, type, 0);
    } else if (length > 0) {
        fields_.emplace_back(name, data, type, static_cast<int32_t>(length));
    }
}

const nvinfer1::PluginFieldCollection *FieldList::collection() {
    collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
    return &collection_;
}

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
