#pragma once

#include <vector>

#include "ops/deform_conv.h"
#include "plugin_base.h"

namespace retinaface {

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

/// DeformConv: bears the standard operator's name, so that standard ONNX files import. Inputs X, W, offset,
/// then B and mask, each of which may be missing: B has one dimension, mask four.
class DeformConvPlugin final : public PluginBase<DeformConvPlugin, DeformConvAttributes> {
  public:
    static constexpr const char *kName = "DeformConv";

    explicit DeformConvPlugin(DeformConvAttributes attributes);

    int32_t getNbOutputs() const noexcept override { return 1; }
    int32_t getOutputDataTypes(nvinfer1::DataType *output_types, int32_t num_outputs,
                               const nvinfer1::DataType *input_types, int32_t num_inputs) const noexcept override;
    int32_t getOutputShapes(const nvinfer1::DimsExprs *inputs, int32_t num_inputs, const nvinfer1::DimsExprs *, int32_t,
                            nvinfer1::DimsExprs *outputs, int32_t num_outputs,
                            nvinfer1::IExprBuilder &builder) noexcept override;
    bool supportsFormatCombination(int32_t position, const nvinfer1::DynamicPluginTensorDesc *tensors,
                                   int32_t num_inputs, int32_t num_outputs) noexcept override;
    int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc *inputs, int32_t num_inputs,
                            const nvinfer1::DynamicPluginTensorDesc *outputs, int32_t num_outputs) noexcept override;
    size_t getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc *, int32_t,
                            const nvinfer1::DynamicPluginTensorDesc *, int32_t) const noexcept override {
        return 0;
    }
    int32_t onShapeChange(const nvinfer1::PluginTensorDesc *inputs, int32_t num_inputs,
                          const nvinfer1::PluginTensorDesc *outputs, int32_t num_outputs) noexcept override;
    int32_t enqueue(const nvinfer1::PluginTensorDesc *input_descs, const nvinfer1::PluginTensorDesc *output_descs,
                    const void *const *inputs, void *const *outputs, void *workspace,
                    cudaStream_t stream) noexcept override;

  private:
    /// Which of the inputs are B and mask; -1 for one that is missing.
    struct Optionals {
        int32_t bias = -1, mask = -1;
    };

    /// From the number of dimensions of each input, rank_of(i).
    template <typename RankOf>
    static Optionals optionals_of(int32_t num_inputs, RankOf rank_of);

    /// The parameters for inputs of the shapes dims_of(i), which are checked; type and layout are X's.
    template <typename DimsOf>
    DeformConvParams params_for(const nvinfer1::PluginTensorDesc &x, int32_t num_inputs, DimsOf dims_of) const;

    int32_t num_inputs_ = 0;  // noted when the shapes are given, because enqueue is not told
};

}  // namespace retinaface
