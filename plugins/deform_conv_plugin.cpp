#include "deform_conv_plugin.h"

#include <climits>
#include <utility>

namespace retinaface {
namespace {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::PluginTensorDesc;
using nvinfer1::TensorFormat;

constexpr int32_t kRequiredInputs = 3;
constexpr const char *kInputs[kRequiredInputs] = {"X", "W", "offset"};

void require_values(const char *name, const std::vector<int32_t> &values, size_t count, int32_t low, int32_t high) {
    require(values.size() == count, "attribute '", name, "': expected ", count, " values, got ", values.size());
    for (int32_t value : values) {
        require(low <= value && value <= high, "attribute '", name, "': expected ", low, " to ", high, ", got ", value);
    }
}

DeformConvAttributes checked(DeformConvAttributes attributes) {
    if (!attributes.kernel_shape.empty()) {
        require_values("kernel_shape", attributes.kernel_shape, 2, 1, kMaxDeformKernelSide);
    }
    require_values("strides", attributes.strides, 2, 1, kMaxDeformStep);
    require_values("pads", attributes.pads, 4, 0, kMaxDeformSize);
    require_values("dilations", attributes.dilations, 2, 1, kMaxDeformStep);
    require_values("group", {attributes.group}, 1, 1, kMaxDeformGroups);
    require_values("offset_group", {attributes.offset_group}, 1, 1, kMaxDeformSize);
    return attributes;
}

void require_tensor_counts(int32_t num_inputs, int32_t num_outputs) {
    require(num_inputs >= kRequiredInputs && num_inputs <= kRequiredInputs + 2,
            "expected 3 to 5 inputs (X, W, offset, B, mask), got ", num_inputs);
    require(num_outputs == 1, "expected one output, got ", num_outputs);
}

int narrow(int64_t extent, const char *tensor) {
    require(extent >= 0 && extent <= INT_MAX, tensor, " has an extent of ", extent);
    return static_cast<int>(extent);
}

}  // namespace

DeformConvPlugin::DeformConvPlugin(DeformConvAttributes attributes) : PluginBase(checked(std::move(attributes))) {}

template <typename RankOf>
DeformConvPlugin::Optionals DeformConvPlugin::optionals_of(int32_t num_inputs, RankOf rank_of) {
    for (int32_t i = 0; i < kRequiredInputs; ++i) {
        require(rank_of(i) == 4, kInputs[i], ": expected 4 dimensions, got ", rank_of(i));
    }
    Optionals optionals;
    for (int32_t i = kRequiredInputs; i < num_inputs; ++i) {
        bool is_bias = rank_of(i) == 1 && i == kRequiredInputs;
        require(is_bias || (rank_of(i) == 4 && i == num_inputs - 1), "input ", i,
                ": expected B with 1 dimension or, as the last input, mask with 4; got ", rank_of(i), " dimensions");
        (is_bias ? optionals.bias : optionals.mask) = i;
    }
    return optionals;
}

template <typename DimsOf>
DeformConvParams DeformConvPlugin::params_for(const PluginTensorDesc &x, int32_t num_inputs, DimsOf dims_of) const {
    Optionals optionals = optionals_of(num_inputs, [&](int32_t i) { return dims_of(i).nbDims; });
    const Dims &image = dims_of(0);
    const Dims &weight = dims_of(1);
    DeformConvParams params;
    params.batch = narrow(image.d[0], "X");
    params.in_channels = narrow(image.d[1], "X");
    params.height = narrow(image.d[2], "X");
    params.width = narrow(image.d[3], "X");
    params.out_channels = narrow(weight.d[0], "W");
    params.kernel_h = narrow(weight.d[2], "W");
    params.kernel_w = narrow(weight.d[3], "W");
    params.stride_h = attributes_.strides[0];
    params.stride_w = attributes_.strides[1];
    params.pad_top = attributes_.pads[0];
    params.pad_left = attributes_.pads[1];
    params.pad_bottom = attributes_.pads[2];
    params.pad_right = attributes_.pads[3];
    params.dilation_h = attributes_.dilations[0];
    params.dilation_w = attributes_.dilations[1];
    params.groups = attributes_.group;
    params.offset_groups = attributes_.offset_group;
    params.dtype = dtype_of(x.type);
    params.layout = x.format == TensorFormat::kHWC8 ? Layout::kHwc8 : Layout::kLinear;
    validate_deform_conv(params);

    const int64_t slots = int64_t{params.offset_groups} * params.kernel_h * params.kernel_w;
    const int64_t height = deform_conv_out_height(params);
    const int64_t width = deform_conv_out_width(params);
    if (!attributes_.kernel_shape.empty()) {
        require(attributes_.kernel_shape[0] == params.kernel_h && attributes_.kernel_shape[1] == params.kernel_w,
                "attribute 'kernel_shape': expected [", params.kernel_h, ", ", params.kernel_w, "] as in W, got [",
                attributes_.kernel_shape[0], ", ", attributes_.kernel_shape[1], "]");
    }
    require_dims(weight, {params.out_channels, params.in_channels / params.groups, params.kernel_h, params.kernel_w},
                 "W");
    require_dims(dims_of(2), {params.batch, 2 * slots, height, width}, "offset");
    if (optionals.bias >= 0) {
        require_dims(dims_of(optionals.bias), {params.out_channels}, "B");
    }
    if (optionals.mask >= 0) {
        require_dims(dims_of(optionals.mask), {params.batch, slots, height, width}, "mask");
    }
    return params;
}

int32_t DeformConvPlugin::getOutputDataTypes(DataType *output_types, int32_t num_outputs, const DataType *input_types,
                                             int32_t num_inputs) const noexcept {
    return guarded_status(kName, [&] {
        require_tensor_counts(num_inputs, num_outputs);
        output_types[0] = input_types[0];
    });
}

int32_t DeformConvPlugin::getOutputShapes(const DimsExprs *inputs, int32_t num_inputs, const DimsExprs *, int32_t,
                                          DimsExprs *outputs, int32_t num_outputs, nvinfer1::IExprBuilder &) noexcept {
    return guarded_status(kName, [&] {
        require_tensor_counts(num_inputs, num_outputs);
        optionals_of(num_inputs, [&](int32_t i) { return inputs[i].nbDims; });
        // The offsets are one per output pixel; that they fit X is checked once extents are known.
        outputs[0] = {4, {inputs[0].d[0], inputs[1].d[0], inputs[2].d[2], inputs[2].d[3]}};
    });
}

bool DeformConvPlugin::supportsFormatCombination(int32_t position, const DynamicPluginTensorDesc *tensors,
                                                 int32_t num_inputs, int32_t num_outputs) noexcept {
    return guarded(kName, false, [&] {
        require_tensor_counts(num_inputs, num_outputs);
        const PluginTensorDesc &x = tensors[0].desc;
        const PluginTensorDesc &tensor = tensors[position].desc;
        if (position == 0) {
            bool is_16_bit = x.type == DataType::kHALF || x.type == DataType::kBF16;
            return x.format == TensorFormat::kLINEAR ? is_16_bit || x.type == DataType::kFLOAT
                                                     : is_16_bit && x.format == TensorFormat::kHWC8;
        }
        bool is_output = position == num_inputs;
        return tensor.type == x.type && tensor.format == (is_output ? x.format : TensorFormat::kLINEAR);
    });
}

int32_t DeformConvPlugin::configurePlugin(const DynamicPluginTensorDesc *inputs, int32_t num_inputs,
                                          const DynamicPluginTensorDesc *, int32_t num_outputs) noexcept {
    return guarded_status(kName, [&] {
        require_tensor_counts(num_inputs, num_outputs);
        params_for(inputs[0].desc, num_inputs, [&](int32_t i) -> const Dims & { return inputs[i].min; });
        params_for(inputs[0].desc, num_inputs, [&](int32_t i) -> const Dims & { return inputs[i].max; });
    });
}

int32_t DeformConvPlugin::onShapeChange(const PluginTensorDesc *inputs, int32_t num_inputs, const PluginTensorDesc *,
                                        int32_t num_outputs) noexcept {
    return guarded_status(kName, [&] {
        require_tensor_counts(num_inputs, num_outputs);
        params_for(inputs[0], num_inputs, [&](int32_t i) -> const Dims & { return inputs[i].dims; });
        num_inputs_ = num_inputs;
    });
}

int32_t DeformConvPlugin::enqueue(const PluginTensorDesc *input_descs, const PluginTensorDesc *,
                                  const void *const *inputs, void *const *outputs, void *,
                                  cudaStream_t stream) noexcept {
    return guarded_status(kName, [&] {
        require(num_inputs_ > 0, "enqueue was called before the shapes were given");
        auto dims_of = [&](int32_t i) -> const Dims & { return input_descs[i].dims; };
        DeformConvParams params = params_for(input_descs[0], num_inputs_, dims_of);
        Optionals optionals = optionals_of(num_inputs_, [&](int32_t i) { return dims_of(i).nbDims; });
        DeformConvInputs tensors;
        tensors.x = inputs[0];
        tensors.weight = inputs[1];
        tensors.offset = inputs[2];
        tensors.bias = optionals.bias < 0 ? nullptr : inputs[optionals.bias];
        tensors.mask = optionals.mask < 0 ? nullptr : inputs[optionals.mask];
        check_cuda(deform_conv_cuda(params, tensors, outputs[0], stream), "deform_conv_cuda");
    });
}

}  // namespace retinaface
