#pragma once

#include <vector>

#include "ops/anchor_decode.h"
#include "plugin_base.h"

namespace retinaface {

struct AnchorDecodeAttributes {
    std::vector<int32_t> strides;
    std::vector<float> anchor_sizes;    // of all levels, one after the other
    std::vector<float> anchor_heights;  // where they differ from the widths, which anchor_sizes are
    std::vector<int32_t> num_anchors;   // how many of them each level has
    std::vector<float> variances;       // of centres, of sizes
    float score_threshold = 0.0f;
    int32_t top_k = 0;
    int32_t has_landmarks = 1;
    int32_t cascade = 0;

    template <typename Fields, typename Self>
    static void describe(Fields &fields, Self &self) {
        fields.required("strides", self.strides);
        fields.required("anchor_sizes", self.anchor_sizes);
        fields.optional("anchor_heights", self.anchor_heights);
        fields.required("num_anchors", self.num_anchors);
        fields.required("variances", self.variances);
        fields.required("score_threshold", self.score_threshold);
        fields.required("top_k", self.top_k);
        fields.optional("has_landmarks", self.has_landmarks);
        fields.optional("cascade", self.cascade);
    }
};

/// RetinaFaceDecode: raw heads of all levels in, the best candidates of each image out.
class AnchorDecodePlugin final : public PluginBase<AnchorDecodePlugin, AnchorDecodeAttributes> {
  public:
    static constexpr const char *kName = "RetinaFaceDecode";

    explicit AnchorDecodePlugin(AnchorDecodeAttributes attributes);

    int32_t getNbOutputs() const noexcept override;
    int32_t getOutputDataTypes(nvinfer1::DataType *output_types, int32_t num_outputs,
                               const nvinfer1::DataType *input_types, int32_t num_inputs) const noexcept override;
    int32_t getOutputShapes(const nvinfer1::DimsExprs *inputs, int32_t num_inputs, const nvinfer1::DimsExprs *, int32_t,
                            nvinfer1::DimsExprs *outputs, int32_t num_outputs,
                            nvinfer1::IExprBuilder &builder) noexcept override;
    bool supportsFormatCombination(int32_t position, const nvinfer1::DynamicPluginTensorDesc *tensors,
                                   int32_t num_inputs, int32_t num_outputs) noexcept override;
    int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc *inputs, int32_t num_inputs,
                            const nvinfer1::DynamicPluginTensorDesc *outputs, int32_t num_outputs) noexcept override;
    size_t getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc *inputs, int32_t num_inputs,
                            const nvinfer1::DynamicPluginTensorDesc *outputs,
                            int32_t num_outputs) const noexcept override;
    int32_t onShapeChange(const nvinfer1::PluginTensorDesc *inputs, int32_t num_inputs,
                          const nvinfer1::PluginTensorDesc *outputs, int32_t num_outputs) noexcept override;
    int32_t enqueue(const nvinfer1::PluginTensorDesc *input_descs, const nvinfer1::PluginTensorDesc *output_descs,
                    const void *const *inputs, void *const *outputs, void *workspace,
                    cudaStream_t stream) noexcept override;

  private:
    /// The heads of a level that the attributes announce, in the order of the inputs.
    struct Head {
        const char *name;
        int channels_per_anchor;
        const void *(AnchorDecodeInputs::*pointers)[kMaxLevels];
    };
    static std::vector<Head> heads_of(const AnchorDecodeParams &params);

    int heads_per_level() const { return static_cast<int>(heads_.size()); }
    int channels(int level, int head) const;
    void require_tensor_counts(int32_t num_inputs, int32_t num_outputs) const;

    /// The parameters for heads of the shapes dims_of(i), which are checked.
    template <typename DimsOf>
    AnchorDecodeParams params_for(DimsOf dims_of, nvinfer1::DataType type) const;

    AnchorDecodeParams params_;  // the attributes; a copy with batch and map sizes is launched
    std::vector<Head> heads_;
};

}  // namespace retinaface
