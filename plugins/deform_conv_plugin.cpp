#include <climits>
#include <utility>
#include <vector>

#include "base/plugin_base.h"
#include "ops/deform_conv.h"
#include "registry.h"

namespace retinaface {
namespace {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;
using nvinfer1::TensorFormat;

constexpr int32_t kRequiredInputs = 3;
constexpr const char *kInputs[kRequiredInputs] = {"X", "W", "offset"};

/// The attributes of ONNX's DeformConv; lists are height before width.
struct DeformConvAttributes {
    std::vector<int32_t> kernel_shape;  // empty: that of the weights
    std::vector<int32_t> strides{1, 1};
    std::vector<int32_t> pads{0, 0, 0, 0};  // top, left, bottom, right
    std::vector<int32_t> dilations{1, 1};
    int32_t group = 1;
    int32_t offset_group = 1;

    template <typename Fields, typename Self>
    static void describe(Fields &fields, Self &self) {
        fields.optional("kernel_shape", self.kernel_shape);
        fields.optional("strides", self.strides);
        fields.optional("pads", self.pads);
        fields.optional("dilations", self.dilations);
        fields.optional("group", self.group);
        fields.optional("offset_group", self.offset_group);
    }
};

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

/// Positions of the optional inputs; -1 if absent.
struct Optionals {
    int32_t bias = -1, mask = -1;
};

/// Tells B (1 dimension) and mask (4) apart by rank_of(i), the number of dimensions of input i.
template <typename RankOf>
Optionals optionals_of(int32_t num_inputs, RankOf rank_of) {
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

int narrow(int64_t extent, const char *tensor) {
    require(extent >= 0 && extent <= INT_MAX, tensor, ": expected extents from 0 to ", INT_MAX, ", got ", extent);
    return static_cast<int>(extent);
}

struct PluginParams {
    DeformConvParams conv;
    Optionals optionals;
};

// The name in our engines, which no parser has an importer for.
constexpr char kOurName[] = "RetinaFaceDeformConv";
// The standard operator's: where the parser has no importer of its own for it, standard ONNX files use the plugin. It
// is also the name in engines that were built before there was the other.
constexpr char kStandardName[] = "DeformConv";

/// Inputs X, W, offset and the optional B and mask.
template <const char *Name>
class DeformConvPlugin final : public PluginBase<DeformConvPlugin<Name>, DeformConvAttributes, PluginParams> {
    using Base = PluginBase<DeformConvPlugin<Name>, DeformConvAttributes, PluginParams>;
    using Base::attributes_;

  public:
    static constexpr const char *kName = Name;
    static constexpr const char *kVersion = "1";

    explicit DeformConvPlugin(DeformConvAttributes attributes) : Base(checked(std::move(attributes))) {}

    int32_t getNbOutputs() const noexcept override { return 1; }

  private:
    void require_num_inputs(int32_t num_inputs) const override {
        require(num_inputs >= kRequiredInputs && num_inputs <= kRequiredInputs + 2,
                "expected 3 to 5 inputs (X, W, offset, B, mask), got ", num_inputs);
    }

    void output_types(const DataType *inputs, DataType *outputs) const override { outputs[0] = inputs[0]; }

    void output_shapes(const DimsExprs *inputs, int32_t num_inputs, DimsExprs *outputs,
                       nvinfer1::IExprBuilder &) const override {
        optionals_of(num_inputs, [&](int32_t i) { return inputs[i].nbDims; });
        // The offset has the output's height and width. params_for checks that they fit X.
        outputs[0] = {4, {inputs[0].d[0], inputs[1].d[0], inputs[2].d[2], inputs[2].d[3]}};
    }

    bool supports(int32_t position, const nvinfer1::DynamicPluginTensorDesc *tensors,
                  int32_t num_inputs) const override {
        const auto &x = tensors[0].desc;
        const auto &tensor = tensors[position].desc;
        if (position == 0) {
            bool is_16_bit = x.type == DataType::kHALF || x.type == DataType::kBF16;
            return x.format == TensorFormat::kLINEAR ? is_16_bit || x.type == DataType::kFLOAT
                                                     : is_16_bit && x.format == TensorFormat::kHWC8;
        }
        bool is_output = position == num_inputs;
        return tensor.type == x.type && tensor.format == (is_output ? x.format : TensorFormat::kLINEAR);
    }

    PluginParams params_for(const Tensors &inputs) const override {
        PluginParams result;
        result.optionals = optionals_of(inputs.count(), [&](int32_t i) { return inputs.dims(i).nbDims; });
        const Dims &x = inputs.dims(0);
        const Dims &weight = inputs.dims(1);
        DeformConvParams &params = result.conv;
        params.batch = narrow(x.d[0], "X");
        params.in_channels = narrow(x.d[1], "X");
        params.height = narrow(x.d[2], "X");
        params.width = narrow(x.d[3], "X");
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
        params.dtype = dtype_of(inputs.type(0));
        params.layout = inputs.format(0) == TensorFormat::kHWC8 ? Layout::kHwc8 : Layout::kLinear;
        validate_deform_conv(params);
        require_shapes(inputs, result);
        return result;
    }

    void require_shapes(const Tensors &inputs, const PluginParams &given) const {
        const DeformConvParams &params = given.conv;
        const int64_t slots = int64_t{params.offset_groups} * params.kernel_h * params.kernel_w;
        const int64_t height = deform_conv_out_height(params);
        const int64_t width = deform_conv_out_width(params);
        if (!attributes_.kernel_shape.empty()) {
            require(attributes_.kernel_shape[0] == params.kernel_h && attributes_.kernel_shape[1] == params.kernel_w,
                    "attribute 'kernel_shape': expected [", params.kernel_h, ", ", params.kernel_w, "] as in W, got [",
                    attributes_.kernel_shape[0], ", ", attributes_.kernel_shape[1], "]");
        }
        require_dims(inputs.dims(1),
                     {params.out_channels, params.in_channels / params.groups, params.kernel_h, params.kernel_w}, "W");
        require_dims(inputs.dims(2), {params.batch, 2 * slots, height, width}, "offset");
        if (given.optionals.bias >= 0) {
            require_dims(inputs.dims(given.optionals.bias), {params.out_channels}, "B");
        }
        if (given.optionals.mask >= 0) {
            require_dims(inputs.dims(given.optionals.mask), {params.batch, slots, height, width}, "mask");
        }
    }

    size_t workspace_bytes(const PluginParams &params) const override {
        return deform_conv_workspace_bytes(params.conv);
    }

    cudaError_t launch(const PluginParams &params, const Buffers &buffers) const override {
        auto optional_input = [&](int32_t position) { return position < 0 ? nullptr : buffers.inputs[position]; };
        DeformConvInputs inputs;
        inputs.x = buffers.inputs[0];
        inputs.weight = buffers.inputs[1];
        inputs.offset = buffers.inputs[2];
        inputs.bias = optional_input(params.optionals.bias);
        inputs.mask = optional_input(params.optionals.mask);
        return deform_conv_cuda(params.conv, inputs, buffers.outputs[0], buffers.workspace, workspace_bytes(params),
                                buffers.stream);
    }
};

}  // namespace

nvinfer1::IPluginCreatorInterface *deform_conv_creator() {
    static PluginCreator<DeformConvPlugin<kOurName>> creator;
    return &creator;
}

nvinfer1::IPluginCreatorInterface *standard_deform_conv_creator() {
    static PluginCreator<DeformConvPlugin<kStandardName>> creator;
    return &creator;
}

}  // namespace retinaface
