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

/// What both versions of the plugin have.
struct NmsAttributes {
    float iou_threshold = 0.0f;
    int32_t max_detections = 0;
    int32_t voting = 0;

    template <typename Fields, typename Self>
    static void describe(Fields &fields, Self &self) {
        fields.required("iou_threshold", self.iou_threshold);
        fields.required("max_detections", self.max_detections);
        fields.optional("voting", self.voting);
    }
};

/// One class, and five landmarks or none.
struct NmsAttributes1 : NmsAttributes {
    static constexpr const char *kVersion = "1";
    static constexpr const char *kPayload = "landmarks";
    int32_t has_landmarks = 1;

    template <typename Fields, typename Self>
    static void describe(Fields &fields, Self &self) {
        NmsAttributes::describe(fields, self);
        fields.optional("has_landmarks", self.has_landmarks);
    }

    void set_heads(BatchedNmsParams &params) const {
        params.payload_size = flag_of("has_landmarks", has_landmarks) ? kLandmarkValues : 0;
    }
};

/// Any payload, and classes.
struct NmsAttributes2 : NmsAttributes {
    static constexpr const char *kVersion = "2";
    static constexpr const char *kPayload = "payload";
    int32_t payload_size = 0;
    int32_t has_classes = 0;
    int32_t class_agnostic = 0;

    template <typename Fields, typename Self>
    static void describe(Fields &fields, Self &self) {
        NmsAttributes::describe(fields, self);
        fields.optional("payload_size", self.payload_size);
        fields.optional("has_classes", self.has_classes);
        fields.optional("class_agnostic", self.class_agnostic);
    }

    void set_heads(BatchedNmsParams &params) const {
        params.payload_size = payload_size;
        params.has_classes = flag_of("has_classes", has_classes);
        params.class_agnostic = flag_of("class_agnostic", class_agnostic);
    }
};

template <typename Attributes>
BatchedNmsParams params_of(const Attributes &attributes) {
    BatchedNmsParams params;
    params.batch = 1;
    params.num_candidates = 1;
    params.max_detections = attributes.max_detections;
    params.iou_threshold = attributes.iou_threshold;
    params.voting = flag_of("voting", attributes.voting);
    attributes.set_heads(params);
    validate_batched_nms(params);
    return params;
}

/// RetinaFaceNMS: from the candidates of each image to its detections, by greedy suppression.
template <typename Attributes>
class BatchedNmsPlugin final : public PluginBase<BatchedNmsPlugin<Attributes>, Attributes, BatchedNmsParams> {
  public:
    static constexpr const char *kName = "RetinaFaceNMS";
    static constexpr const char *kVersion = Attributes::kVersion;

    explicit BatchedNmsPlugin(Attributes attributes)
        : PluginBase<BatchedNmsPlugin, Attributes, BatchedNmsParams>(std::move(attributes)),
          params_(params_of(this->attributes_)) {}

    int32_t getNbOutputs() const noexcept override { return 3 + has_payload() + params_.has_classes; }

  private:
    bool has_payload() const { return params_.payload_size > 0; }
    int32_t count_input() const { return has_payload() ? 3 : 2; }
    bool is_integer_output(int32_t i) const { return i == 0 || i > count_input(); }

    void require_num_inputs(int32_t num_inputs) const override {
        int32_t expected = getNbOutputs();  // inputs and outputs are the same tensors in another order
        require(num_inputs == expected, "expected ", expected, " inputs (boxes, scores, ",
                has_payload() ? Attributes::kPayload : "", has_payload() ? ", " : "", "count",
                params_.has_classes ? ", classes" : "", "), got ", num_inputs);
    }

    void output_types(const DataType *, DataType *outputs) const override {
        for (int32_t i = 0; i < getNbOutputs(); ++i) {
            outputs[i] = is_integer_output(i) ? DataType::kINT32 : DataType::kFLOAT;
        }
    }

    void output_shapes(const DimsExprs *inputs, int32_t, DimsExprs *outputs,
                       nvinfer1::IExprBuilder &builder) const override {
        require_dims(inputs[0], {-1, -1, 4}, "boxes");
        require_dims(inputs[1], {-1, -1}, "scores");
        if (has_payload()) {
            require_dims(inputs[2], {-1, -1, params_.payload_size}, Attributes::kPayload);
        }
        require_dims(inputs[count_input()], {-1}, "count");
        if (params_.has_classes) {
            require_dims(inputs[count_input() + 1], {-1, -1}, "classes");
        }

        auto *batch = inputs[0].d[0];
        auto *slots = builder.constant(params_.max_detections);
        outputs[0] = {1, {batch}};
        outputs[1] = {3, {batch, slots, builder.constant(4)}};
        outputs[2] = {2, {batch, slots}};
        if (has_payload()) {
            outputs[3] = {3, {batch, slots, builder.constant(params_.payload_size)}};
        }
        if (params_.has_classes) {
            outputs[count_input() + 1] = {2, {batch, slots}};
        }
    }

    bool supports(int32_t position, const nvinfer1::DynamicPluginTensorDesc *tensors,
                  int32_t num_inputs) const override {
        bool is_integer = position < num_inputs ? position >= count_input() : is_integer_output(position - num_inputs);
        return is_linear(tensors[position], is_integer ? DataType::kINT32 : DataType::kFLOAT);
    }

    BatchedNmsParams params_for(const Tensors &inputs) const override {
        const Dims &boxes = inputs.dims(0);
        require(boxes.nbDims == 3, "boxes: expected 3 dimensions, got ", boxes.nbDims);
        int64_t batch = boxes.d[0];
        int64_t candidates = boxes.d[1];
        require_dims(boxes, {batch, candidates, 4}, "boxes");
        require_dims(inputs.dims(1), {batch, candidates}, "scores");
        if (has_payload()) {
            require_dims(inputs.dims(2), {batch, candidates, params_.payload_size}, Attributes::kPayload);
        }
        require_dims(inputs.dims(count_input()), {batch}, "count");
        if (params_.has_classes) {
            require_dims(inputs.dims(count_input() + 1), {batch, candidates}, "classes");
        }

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
        inputs.payload = has_payload() ? static_cast<const float *>(*in++) : nullptr;
        inputs.count = static_cast<const int32_t *>(*in++);
        inputs.classes = params.has_classes ? static_cast<const int32_t *>(*in) : nullptr;
        BatchedNmsOutputs outputs;
        outputs.num_detections = static_cast<int32_t *>(*out++);
        outputs.boxes = static_cast<float *>(*out++);
        outputs.scores = static_cast<float *>(*out++);
        outputs.payload = has_payload() ? static_cast<float *>(*out++) : nullptr;
        outputs.classes = params.has_classes ? static_cast<int32_t *>(*out) : nullptr;
        return batched_nms_cuda(params, inputs, outputs, buffers.workspace, workspace_bytes(params), buffers.stream);
    }

    const BatchedNmsParams params_;  // without batch and candidates, which each launch has
};

}  // namespace

nvinfer1::IPluginCreatorInterface *batched_nms_creator() {
    static PluginCreator<BatchedNmsPlugin<NmsAttributes1>> creator;
    return &creator;
}

nvinfer1::IPluginCreatorInterface *batched_nms_2_creator() {
    static PluginCreator<BatchedNmsPlugin<NmsAttributes2>> creator;
    return &creator;
}

}  // namespace retinaface
