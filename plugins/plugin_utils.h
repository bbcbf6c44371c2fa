#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <vector>

#include "NvInferRuntime.h"
#include "common/check.h"
#include "common/dtype.h"
#include "logging.h"

namespace retinaface {

/// Throws std::runtime_error with the error's name and text unless `status` is success.
void check_cuda(cudaError_t status, const char *what);

template <typename T>
constexpr nvinfer1::PluginFieldType kFieldType = nvinfer1::PluginFieldType::kUNKNOWN;
template <>
inline constexpr nvinfer1::PluginFieldType kFieldType<int32_t> = nvinfer1::PluginFieldType::kINT32;
template <>
inline constexpr nvinfer1::PluginFieldType kFieldType<float> = nvinfer1::PluginFieldType::kFLOAT32;

/// Fills attributes, scalars or arrays of int32_t or float, from the fields given to a creator. Throws
/// InvalidArgument, naming the attribute, for one that is missing, given twice, of another type, of a
/// wrong length, or unknown.
///
/// A plugin lists its attributes once, in a function template describe(fields, attributes) that calls
/// required() and optional() on each: given a FieldReader it reads, given a FieldList it collects.
class FieldReader {
  public:
    explicit FieldReader(const nvinfer1::PluginFieldCollection *fields);

    template <typename T>
    void required(const char *name, T &value) {
        require(read(name, value), "attribute '", name, "' is missing");
    }

    /// Keeps what `value` holds where the field is absent.
    template <typename T>
    void optional(const char *name, T &value) {
        read(name, value);
    }

    /// Refuses the fields that nobody asked for.
    void finish() const;

  private:
    template <typename T>
    bool read(const char *name, T &value) {
        const nvinfer1::PluginField *field = find(name, kFieldType<T>);
        if (field != nullptr) {
            require(field->length == 1, "attribute '", name, "': expected one value, got ", field->length);
            value = *static_cast<const T *>(field->data);
        }
        return field != nullptr;
    }

    template <typename T>
    bool read(const char *name, std::vector<T> &values) {
        const nvinfer1::PluginField *field = find(name, kFieldType<T>);
        if (field != nullptr) {
            auto *data = static_cast<const T *>(field->data);
            values.assign(data, data + field->length);
        }
        return field != nullptr;
    }

    const nvinfer1::PluginField *find(const char *name, nvinfer1::PluginFieldType type);

    nvinfer1::PluginFieldCollection fields_{};
    std::set<std::string> known_;
};

/// Attributes as TensorRT's fields: names and types only for a creator to advertise, or with the values,
/// for a plugin to serialise. Values are pointed to, not copied; an empty array counts as absent.
class FieldList {
  public:
    enum Content { kNames, kValues };

    explicit FieldList(Content content) : content_(content) {}

    template <typename T>
    void required(const char *name, const T &value) {
        add(name, value);
    }
    template <typename T>
    void optional(const char *name, const T &value) {
        add(name, value);
    }

    const nvinfer1::PluginFieldCollection *collection();

  private:
    template <typename T>
    void add(const char *name, const T &value) {
        add(name, &value, kFieldType<T>, 1);
    }
    template <typename T>
    void add(const char *name, const std::vector<T> &values) {
        add(name, values.data(), kFieldType<T>, values.size());
    }
    void add(const char *name, const void *data, nvinfer1::PluginFieldType type, size_t length);

    Content content_;
    std::vector<nvinfer1::PluginField> fields_;
    nvinfer1::PluginFieldCollection collection_{};
};

/// Throws InvalidArgument, naming the tensor, unless `dims` are `expected`.
void require_dims(const nvinfer1::Dims &dims, std::initializer_list<int64_t> expected, const char *tensor,
                  int level = -1);

/// The same where dims may be unknown yet: checks the rank and, where both sides are known, the extents.
/// Give -1 for an extent that may be anything.
void require_dims(const nvinfer1::DimsExprs &dims, std::initializer_list<int64_t> expected, const char *tensor,
                  int level = -1);

bool is_linear(const nvinfer1::DynamicPluginTensorDesc &tensor, nvinfer1::DataType type);

/// kFLOAT, kHALF and kBF16; throws InvalidArgument for another type.
DType dtype_of(nvinfer1::DataType type);

}  // namespace retinaface
