#include "batched_nms_plugin.h"

#include <utility>

namespace retinaface {
namespace {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::PluginTensorDesc;

BatchedNmsParams params_of(const BatchedNmsAttributes &attributes) {
    require(attributes.voting == 0 || attributes.voting == 1, "attribute 'voting': expected 0 or 1, got ",
            attributes.voting);
    require(attributes.has_landmarks == 0 || attributes.has_landmarks == 1,
            "attribute 'has_landmarks': expected 0 or 1, got ", attributes.has_landmarks);
    BatchedNmsParams params;
    params.batch = 1;
    params.num_candidates = 1;
    params.max_detections = attributes.max_detections;
    params.iou_threshold = attributes.iou_threshold;
    params.voting = attributes.voting != 0;
    params.has_landmarks = attributes.has_landmarks != 0;
    validate_batched_nms(params);
    return params;
}

}  // namespace

BatchedNmsPlugin::BatchedNmsPlugin(BatchedNmsAttributes attributes)
    : PluginBase(std::move(attributes)), params_(params_of(attributes_)) {}

void BatchedNmsPlugin::require_tensor_counts(int32_t num_inputs, int32_t num_outputs) const {
    int32_t expected = getNbOutputs();  // inputs and outputs are the same tensors in another order
    require(num_inputs == expected, "expected ", expected, " inputs (boxes, scores, ",
            params_.has_landmarks ? "landmarks, " : "", "count), got ", num_inputs);
    require(num_outputs == expected, "expected ", expected, " outputs, got ", num_outputs);
}

template <typename DimsOf>
BatchedNmsParams BatchedNmsPlugin::params_for(DimsOf dims_of) const {
    int32_t i = 0;
    const Dims &boxes = dims_of(i++);
    require(boxes.nbDims == 3, "boxes: expected 3 dimensions, got ", boxes.nbDims);
    int64_t batch = boxes.d[0];
    int64_t candidates = boxes.d[1];
    require_dims(boxes, {batch, candidates, 4}, "boxes");
    require_dims(dims_of(i++), {batch, candidates}, "scores");
    if (params_.has_landmarks) {
        require_dims(dims_of(i++), {batch, candidates, kLandmarkValues}, "landmarks");
    }
    require_dims(dims_of(i), {batch}, "count");

    BatchedNmsParams params = params_;
    params.batch = static_cast<int>(batch);
    params.num_candidates = static_cast<int>(candidates);
    validate_batched_nms(params);
    return params;
}

int32_t BatchedNmsPlugin::getNbOutputs() const noexcept {
    return params_.has_landmarks ? 4 : 3;
}

int32_t BatchedNmsPlugin::getOutputDataTypes(DataType *output_types, int32_t num_outputs, const DataType *,
                                             int32_t num_inputs) const noexcept {
    return guarded_status(kName, [&] {
        require_tensor_counts(num_inputs, num_outputs);
        output_types[0] = DataType::kINT32;
        for (int32_t i = 1; i < num_outputs; ++i) {
            output_types[i] = DataType::kFLOAT;
        }
    });
}

int32_t BatchedNmsPlugin::getOutputShapes(const DimsExprs *inputs, int32_t num_inputs, const DimsExprs *, int32_t,
                                          DimsExprs *outputs, int32_t num_outputs,
                                          nvinfer1::IExprBuilder &builder) noexcept {
    return guarded_status(kName, [&] {
        require_tensor_counts(num_inputs, num_outputs);
        require_dims(inputs[0], {-1, -1, 4}, "boxes");
        require_dims(inputs[1], {-1, -1}, "scores");
        if (params_.has_landmarks) {
            require_dims(inputs[2], {-1, -1, kLandmarkValues}, "landmarks");
        }
        require_dims(inputs[num_inputs - 1], {-1}, "count");

        auto *batch = inputs[0].d[0];
        auto *slots = builder.constant(params_.max_detections);
        outputs[0] = {1, {batch}};
        outputs[1] = {3, {batch, slots, builder.constant(4)}};
        outputs[2] = {2, {batch, slots}};
        if (params_.has_landmarks) {
            outputs[3] = {3, {batch, slots, builder.constant(kLandmarkValues)}};
        }
    });
}

bool BatchedNmsPlugin::supportsFormatCombination(int32_t position, const DynamicPluginTensorDesc *tensors,
                                                 int32_t num_inputs, int32_t num_outputs) noexcept {
    return guarded(kName, false, [&] {
        require_tensor_counts(num_inputs, num_outputs);
        // count is the last input, num_detections the first output.
        bool is_number = position == num_inputs - 1 || position == num_inputs;
        return is_linear(tensors[position], is_number ? DataType::kINT32 : DataType::kFLOAT);
    });
}

int32_t BatchedNmsPlugin::configurePlugin(const DynamicPluginTensorDesc *inputs, int32_t num_inputs,
                                          const DynamicPluginTensorDesc *, int32_t num_outputs) noexcept {
    return guarded_status(kName, [&] {
        require_tensor_counts(num_inputs, num_outputs);
        params_for([&](int i) -> const Dims & { return inputs[i].min; });
        params_for([&](int i) -> const Dims & { return inputs[i].max; });
    });
}

size_t BatchedNmsPlugin::getWorkspaceSize(const DynamicPluginTensorDesc *inputs, int32_t,
                                          const DynamicPluginTensorDesc *, int32_t) const noexcept {
    return guarded<size_t>(kName, 0, [&] {
        return batched_nms_workspace_bytes(params_for([&](int i) -> const Dims & { return inputs[i].max; }));
    });
}

int32_t BatchedNmsPlugin::onShapeChange(const PluginTensorDesc *inputs, int32_t num_inputs, const PluginTensorDesc *,
                                        int32_t num_outputs) noexcept {
    return guarded_status(kName, [&] {
        require_tensor_counts(num_inputs, num_outputs);
        params_for([&](int i) -> const Dims & { return inputs[i].dims; });
    });
}

int32_t BatchedNmsPlugin::enqueue(const PluginTensorDesc *input_descs, const PluginTensorDesc *,
                                  const void *const *inputs, void *const *outputs, void *workspace,
                                  cudaStream_t stream) noexcept {
    return guarded_status(kName, [&] {
        BatchedNmsParams params = params_for([&](int i) -> const Dims & { return input_descs[i].dims; });
        BatchedNmsInputs candidates;
        candidates.boxes = static_cast<const float *>(*inputs++);
        candidates.scores = static_cast<const float *>(*inputs++);
        candidates.landmarks = params.has_landmarks ? static_cast<const float *>(*inputs++) : nullptr;
        candidates.count = static_cast<const int32_t *>(*inputs);
        BatchedNmsOutputs kept;
        kept.num_detections = static_cast<int32_t *>(*outputs++);
        kept.boxes = static_cast<float *>(*outputs++);
        kept.scores = static_cast<float *>(*outputs++);
        kept.landmarks = params.has_landmarks ? static_cast<float *>(*outputs) : nullptr;
        // TensorRT holds a workspace for the profile's largest shapes, so at least this much.
        check_cuda(batched_nms_cuda(params, candidates, kept, workspace, batched_nms_workspace_bytes(params), stream),
                   "batched_nms_cuda");
    });
}

}  // namespace retinaface
