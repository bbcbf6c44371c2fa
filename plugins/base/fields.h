#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "NvInferRuntime.h"
#include "common/check.h"

namespace retinaface {

template <typename T>
constexpr nvinfer1::PluginFieldType kFieldType = nvinfer1::PluginFieldType::kUNKNOWN;
template <>
inline constexpr nvinfer1::PluginFieldType kFieldType<int32_t> = nvinfer1::PluginFieldType::kINT32;
template <>
inline constexpr nvinfer1::PluginFieldType kFieldType<float> = nvinfer1::PluginFieldType::kFLOAT32;

/// Reads attributes (scalars or arrays of int32_t or float) from the fields that TensorRT passes to a creator.
/// Throws InvalidArgument, naming the attribute, if one is missing, unknown, given twice, or of the wrong type or
/// length.
///
/// A plugin lists its attributes once, in a template describe(fields, attributes) that calls required() or
/// optional() for each. A FieldReader then reads them, a FieldList collects them.
class FieldReader {
  public:
    explicit FieldReader(const nvinfer1::PluginFieldCollection *fields);

    template <typename T>
    void required(const char *name, T &value) {
        require(read(name, value), "attribute '", name, "' is missing");
    }

    /// Leaves `value` unchanged if the field is absent.
    template <typename T>
    void optional(const char *name, T &value) {
        read(name, value);
    }

    /// Refuses fields that were not read.
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

/// Attributes as TensorRT's fields: kNames for a creator to advertise, kValues for a plugin to serialise. Holds
/// pointers to the values, not copies; leaves out empty arrays.
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

/// The attribute `name`, which is 0 or 1.
bool flag_of(const char *name, int32_t value);

}  // namespace retinaface
