#include "fields.h"

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

std::string join(const std::set<std::string> &names) {
    std::string text;
    for (const std::string &name : names) {
        text += (text.empty() ? "" : ", ") + name;
    }
    return text;
}

}  // namespace

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
        require(known_.count(name) != 0, "attribute '", name, "' is not known, expected only ", join(known_));
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

bool flag_of(const char *name, int32_t value) {
    require(value == 0 || value == 1, "attribute '", name, "': expected 0 or 1, got ", value);
    return value == 1;
}

}  // namespace retinaface
