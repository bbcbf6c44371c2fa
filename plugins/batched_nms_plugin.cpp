#include <utility>

#include "base/plugin_base.h"
#include "common/landmarks.h"
#include "ops/batched_nms.h"
#include "registry.h"

namespace retinaface {
namespace {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;

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

BatchedNmsParams params_of(const BatchedNmsAttributes &attributes) {
    BatchedNmsParams params;
    params.batch = 1;
    params.num_candidates = 1;
    params.max_detections = attributes.max_detections;
    params.iou_threshold = attributes.iou_threshold;
    params.voting = flag_of("voting", attributes.voting);
    params.payload_size = flag_of("has_landmarks", attributes.has_landmarks) ? kLandmarkValues : 0;
    validate_batched_nms(params);
    return params;
}

/// RetinaFaceNMS: from the candidates of each image to its detections, by greedy suppression.
class BatchedNmsPlugin final : public PluginBase<BatchedNmsPlugin, BatchedNmsAttributes, BatchedNmsParams> {
  public:
    static constexpr const char *kName = "RetinaFaceNMS";

    explicit BatchedNmsPlugin(BatchedNmsAttributes attributes)
        : PluginBase(std::move(attributes)), params_(params_of(attributes_)) {}

    int32_t getNbOutputs() const noexcept override { return params_.payload_size > 0 ? 4 : 3; }

  private:
    void require_num_inputs(int32_t num_inputs) const override {
        int32_t expected = getNbOutputs();  // inputs and outputs are the same tensors in another order
        require(num_inputs == expected, "expected ", expected, " inputs (boxes, scores, ",
                params_.payload_size > 0 ? "landmarks, " : "", "count), got ", num_inputs);
    }

    void output_types(const DataType *, DataType *outputs) const override {
        outputs[0] = DataType::kINT32;
        for (int32_t i = 1; i < getNbOutputs(); ++i) {
            outputs[i] = DataType::kFLOAT;
        }
    }

    void output_shapes(const DimsExprs *inputs, int32_t num_inputs, DimsExprs *outputs,
                       nvinfer1::IExprBuilder &builder) const override {
        require_dims(inputs[0], {-1, -1, 4}, "boxes");
        require_dims(inputs[1], {-1, -1}, "scores");
        if (params_.payload_size > 0) {
            require_dims(inputs[2], {-1, -1, kLandmarkValues}, "landmarks");
        }
        require_dims(inputs[num_inputs - 1], {-1}, "count");

        auto *batch = inputs[0].d[0];
        auto *slots = builder.constant(params_.max_detections);
        outputs[0] = {1, {batch}};
        outputs[1] = {3, {batch, slots, builder.constant(4)}};
        outputs[2] = {2, {batch, slots}};
        if (params_.payload_size > 0) {
            outputs[3] = {3, {batch, slots, builder.constant(kLandmarkValues)}};
        }
    }

    bool supports(int32_t position, const nvinfer1::DynamicPluginTensorDesc *tensors,
                  int32_t num_inputs) const override {
        // count is the last input, num_detections the first output.
        bool is_count = position == num_inputs - 1 || position == num_inputs;
        return is_linear(tensors[position], is_count ? DataType::kINT32 : DataType::kFLOAT);
    }

    BatchedNmsParams params_for(const Tensors &inputs) const override {
        const Dims &boxes = inputs.dims(0);
        require(boxes.nbDims == 3, "boxes: expected 3 dimensions, got ", boxes.nbDims);
        int64_t batch = boxes.d[0];
        int64_t candidates = boxes.d[1];
        require_dims(boxes, {batch, candidates, 4}, "boxes");
        require_dims(inputs.dims(1), {batch, candidates}, "scores");
        if (params_.payload_size > 0) {
            require_dims(inputs.dims(2), {batch, candidates, kLandmarkValues}, "landmarks");
        }
        require_dims(inputs.dims(inputs.count() - 1), {batch}, "count");

        BatchedNmsParams params = params_;
        params.batch = static_cast<int>(batch);
        params.num_candidates = static_cast<int>(candidates);
        validate_batched_nms(params);
        return params;
    }

    size_t workspace_bytes(const BatchedNmsParams &params) const override {
        return batched_nms_workspace_bytes(params);
    }

    cudaError_t launch(const BatchedNmsParams &params, const Buffers &buffers) const override {
        const void *const *in = buffers.inputs;
        void *const *out = buffers.outputs;
        BatchedNmsInputs inputs;
        inputs.boxes = static_cast<const float *>(*in++);
        inputs.scores = static_cast<const float *>(*in++);
        inputs.payload = params.payload_size > 0 ? static_cast<const float *>(*in++) : nullptr;
        inputs.count = static_cast<const int32_t *>(*in);
        BatchedNmsOutputs outputs;
        outputs.num_detections = static_cast<int32_t *>(*out++);
        outputs.boxes = static_cast<float *>(*out++);
        outputs.scores = static_cast<float *>(*out++);
        outputs.payload = params.payload_size > 0 ? static_cast<float *>(*out) : nullptr;
        return batched_nms_cuda(params, inputs, outputs, buffers.workspace, workspace_bytes(params), buffers.stream);
    }

    const BatchedNmsParams params_;  // without batch and candidates, which each launch has
};

}  // namespace

nvinfer1::IPluginCreatorInterface *batched_nms_creator() {
    static PluginCreator<BatchedNmsPlugin> creator;
    return &creator;
}

}  // namespace retinaface
