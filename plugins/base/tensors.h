#pragma once

#include <cstdint>
#include <initializer_list>

#include "NvInferRuntime.h"
#include "common/dtype.h"

namespace retinaface {

/// A view of a plugin's inputs, with their actual shapes or with the smallest or largest shapes of a profile.
class Tensors {
  public:
    Tensors(const nvinfer1::PluginTensorDesc *actual, int32_t count) : actual_(actual), count_(count) {}

    /// `bound` is &DynamicPluginTensorDesc::min or &DynamicPluginTensorDesc::max.
    Tensors(const nvinfer1::DynamicPluginTensorDesc *profile, nvinfer1::Dims nvinfer1::DynamicPluginTensorDesc::*bound,
            int32_t count)
        : profile_(profile), bound_(bound), count_(count) {}

    int32_t count() const { return count_; }
    const nvinfer1::Dims &dims(int32_t i) const { return actual_ != nullptr ? actual_[i].dims : profile_[i].*bound_; }
    nvinfer1::DataType type(int32_t i) const { return desc(i).type; }
    nvinfer1::TensorFormat format(int32_t i) const { return desc(i).format; }

  private:
    const nvinfer1::PluginTensorDesc &desc(int32_t i) const {
        return actual_ != nullptr ? actual_[i] : profile_[i].desc;
    }

    const nvinfer1::PluginTensorDesc *actual_ = nullptr;
    const nvinfer1::DynamicPluginTensorDesc *profile_ = nullptr;
    nvinfer1::Dims nvinfer1::DynamicPluginTensorDesc::*bound_ = nullptr;
    int32_t count_;
};

/// Throws InvalidArgument, naming the tensor, unless `dims` are `expected`.
void require_dims(const nvinfer1::Dims &dims, std::initializer_list<int64_t> expected, const char *tensor,
                  int level = -1);

/// As above during the build, where extents may be unknown: checks the rank and the known extents. An expected -1
/// allows any extent.
void require_dims(const nvinfer1::DimsExprs &dims, std::initializer_list<int64_t> expected, const char *tensor,
                  int level = -1);

bool is_linear(const nvinfer1::DynamicPluginTensorDesc &tensor, nvinfer1::DataType type);

/// Throws InvalidArgument unless `type` is kFLOAT, kHALF or kBF16.
DType dtype_of(nvinfer1::DataType type);

}  // namespace retinaface
