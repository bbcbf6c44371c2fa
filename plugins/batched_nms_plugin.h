#pragma once

#include "ops/anchor_decode.h"
#include "ops/batched_nms.h"
#include "plugin_base.h"

namespace retinaface {

struct BatchedNmsAttributes {
    float iou_threshold = 0.0f;
    int32_t max_detections = 0;
    int32_t voting = 0;
    int32_t has_landmarks = 1;

    template <typename Fields, typename Self>
    static void describe(Fields &fields, Self &self) {
        fields.required("iou_threshold", self.iou_threshold);
        fields.required("max_detections", self.max_detections);
        fields.optional("voting", self.voting);
        fields.optional("has_landmarks", self.has_landmarks);
    }
};

/// RetinaFaceNMS: candidates of each image in, those that greedy suppression keeps out.
class BatchedNmsPlugin final : public PluginBase<BatchedNmsPlugin, BatchedNmsAttributes> {
  public:
    static constexpr const char *kName = "RetinaFaceNMS";

    explicit BatchedNmsPlugin(BatchedNmsAttributes attributes);

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
    void require_tensor_counts(int32_t num_inputs, int32_t num_outputs) const;

    /// The parameters for inputs of the shapes dims_of(i), which are checked.
    template <typename DimsOf>
    BatchedNmsParams params_for(DimsOf dims_of) const;

    BatchedNmsParams params_;  // the attributes; a copy with batch and candidates is launched
};

}  // namespace retinaface
