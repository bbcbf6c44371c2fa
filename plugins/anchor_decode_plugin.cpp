#include "anchor_decode_plugin.h"

#include <cmath>
#include <numeric>
#include <utility>

namespace retinaface {
namespace {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::PluginTensorDesc;

/// The operator's own check names levels and anchors; here the attribute is what the user can mend.
template <typename T>
void require_positive(const char *name, const std::vector<T> &values) {
    for (T value : values) {
        require(std::isfinite(value) && value > 0, "attribute '", name, "': expected finite values above 0, got ",
                value);
    }
}

void require_flag(const char *name, int32_t value) {
    require(value == 0 || value == 1, "attribute '", name, "': expected 0 or 1, got ", value);
}

AnchorDecodeParams params_of(const AnchorDecodeAttributes &attributes) {
    size_t levels = attributes.strides.size();
    require(levels >= 1 && levels <= kMaxLevels, "attribute 'strides': expected 1 to ", kMaxLevels, " values, got ",
            levels);
    require(attributes.num_anchors.size() == levels, "attribute 'num_anchors': expected ", levels,
            " values, as many as in 'strides', got ", attributes.num_anchors.size());
    for (int32_t count : attributes.num_anchors) {
        require(count >= 1 && count <= kMaxAnchorsPerCell, "attribute 'num_anchors': expected 1 to ",
                kMaxAnchorsPerCell, " anchors per level, got ", count);
    }
    size_t sizes = std::accumulate(attributes.num_anchors.begin(), attributes.num_anchors.end(), size_t{0});
    require(attributes.anchor_sizes.size() == sizes, "attribute 'anchor_sizes': expected ", sizes,
            " values, the sum of 'num_anchors', got ", attributes.anchor_sizes.size());
    require(attributes.variances.size() == 2, "attribute 'variances': expected 2 values, got ",
            attributes.variances.size());
    require_positive("strides", attributes.strides);
    require_positive("anchor_sizes", attributes.anchor_sizes);
    const std::vector<float> &heights =
        attributes.anchor_heights.empty() ? attributes.anchor_sizes : attributes.anchor_heights;
    require(heights.size() == sizes, "attribute 'anchor_heights': expected ", sizes,
            " values, as many as in 'anchor_sizes', or none, got ", heights.size());
    require_positive("anchor_heights", heights);
    require_positive("variances", attributes.variances);
    require_flag("has_landmarks", attributes.has_landmarks);
    require_flag("cascade", attributes.cascade);

    AnchorDecodeParams params;
    params.batch = 1;
    params.num_levels = static_cast<int>(levels);
    size_t anchor = 0;
    for (size_t l = 0; l < levels; ++l) {
        AnchorLevel &level = params.levels[l];
        level.height = level.width = 1;
        level.stride = attributes.strides[l];
        level.num_anchors = attributes.num_anchors[l];
        for (int a = 0; a < level.num_anchors; ++a) {
            level.anchor_sizes[a] = {attributes.anchor_sizes[anchor], heights[anchor]};
            ++anchor;
        }
    }
    params.centre_variance = attributes.variances[0];
    params.size_variance = attributes.variances[1];
    params.score_threshold = attributes.score_threshold;
    params.top_k = attributes.top_k;
    params.has_landmarks = attributes.has_landmarks != 0;
    params.cascade = attributes.cascade != 0;
    validate_anchor_decode(params);
    return params;
}

}  // namespace

AnchorDecodePlugin::AnchorDecodePlugin(AnchorDecodeAttributes attributes)
    : PluginBase(std::move(attributes)), params_(params_of(attributes_)), heads_(heads_of(params_)) {}

std::vector<AnchorDecodePlugin::Head> AnchorDecodePlugin::heads_of(const AnchorDecodeParams &params) {
    std::vector<Head> heads = {{"logits", 2, &AnchorDecodeInputs::logits},
                               {"box_deltas", 4, &AnchorDecodeInputs::box_deltas}};
    if (params.has_landmarks) {
        heads.push_back({"landmark_deltas", kLandmarkValues, &AnchorDecodeInputs::landmark_deltas});
    }
    if (params.cascade) {
        heads.push_back({"anchor_deltas", 4, &AnchorDecodeInputs::anchor_deltas});
    }
    return heads;
}

int AnchorDecodePlugin::channels(int level, int head) const {
    return params_.levels[level].num_anchors * heads_[head].channels_per_anchor;
}

void AnchorDecodePlugin::require_tensor_counts(int32_t num_inputs, int32_t num_outputs) const {
    int expected = params_.num_levels * heads_per_level();
    require(num_inputs == expected, "expected ", expected, " inputs (", heads_per_level(), " heads for each of the ",
            params_.num_levels, " levels in attribute 'strides'), got ", num_inputs);
    require(num_outputs == getNbOutputs(), "expected ", getNbOutputs(), " outputs, got ", num_outputs);
}

template <typename DimsOf>
AnchorDecodeParams AnchorDecodePlugin::params_for(DimsOf dims_of, DataType type) const {
    AnchorDecodeParams params = params_;
    params.dtype = dtype_of(type);
    const Dims &first = dims_of(0);
    require(first.nbDims == 4, "logits of level 0: expected 4 dimensions, got ", first.nbDims);
    params.batch = static_cast<int>(first.d[0]);
    for (int l = 0, i = 0; l < params.num_levels; ++l) {
        const Dims &logits = dims_of(i);
        require(logits.nbDims == 4, "logits of level ", l, ": expected 4 dimensions, got ", logits.nbDims);
        params.levels[l].height = static_cast<int>(logits.d[2]);
        params.levels[l].width = static_cast<int>(logits.d[3]);
        for (int head = 0; head < heads_per_level(); ++head, ++i) {
            require_dims(dims_of(i), {first.d[0], channels(l, head), logits.d[2], logits.d[3]}, heads_[head].name, l);
        }
    }
    validate_anchor_decode(params);
    return params;
}

int32_t AnchorDecodePlugin::getNbOutputs() const noexcept {
    return params_.has_landmarks ? 4 : 3;
}

int32_t AnchorDecodePlugin::getOutputDataTypes(DataType *output_types, int32_t num_outputs, const DataType *,
                                               int32_t num_inputs) const noexcept {
    return guarded_status(kName, [&] {
        require_tensor_counts(num_inputs, num_outputs);
        for (int32_t i = 0; i < num_outputs - 1; ++i) {
            output_types[i] = DataType::kFLOAT;
        }
        output_types[num_outputs - 1] = DataType::kINT32;
    });
}

int32_t AnchorDecodePlugin::getOutputShapes(const DimsExprs *inputs, int32_t num_inputs, const DimsExprs *, int32_t,
                                            DimsExprs *outputs, int32_t num_outputs,
                                            nvinfer1::IExprBuilder &builder) noexcept {
    return guarded_status(kName, [&] {
        require_tensor_counts(num_inputs, num_outputs);
        for (int32_t i = 0; i < num_inputs; ++i) {
            int level = i / heads_per_level();
            int head = i % heads_per_level();
            require_dims(inputs[i], {-1, channels(level, head), -1, -1}, heads_[head].name, level);
        }
        auto *batch = inputs[0].d[0];
        auto *top_k = builder.constant(params_.top_k);
        int32_t i = 0;
        outputs[i++] = {3, {batch, top_k, builder.constant(4)}};
        outputs[i++] = {2, {batch, top_k}};
        if (params_.has_landmarks) {
            outputs[i++] = {3, {batch, top_k, builder.constant(kLandmarkValues)}};
        }
        outputs[i] = {1, {batch}};
    });
}

bool AnchorDecodePlugin::supportsFormatCombination(int32_t position, const DynamicPluginTensorDesc *tensors,
                                                   int32_t num_inputs, int32_t num_outputs) noexcept {
    return guarded(kName, false, [&] {
        require_tensor_counts(num_inputs, num_outputs);
        const DynamicPluginTensorDesc &tensor = tensors[position];
        if (position == 0) {
            return is_linear(tensor, DataType::kFLOAT) || is_linear(tensor, DataType::kHALF) ||
                   is_linear(tensor, DataType::kBF16);
        }
        if (position < num_inputs) {
            return is_linear(tensor, tensors[0].desc.type);
        }
        bool is_count = position == num_inputs + num_outputs - 1;
        return is_linear(tensor, is_count ? DataType::kINT32 : DataType::kFLOAT);
    });
}

int32_t AnchorDecodePlugin::configurePlugin(const DynamicPluginTensorDesc *inputs, int32_t num_inputs,
                                            const DynamicPluginTensorDesc *, int32_t num_outputs) noexcept {
    return guarded_status(kName, [&] {
        require_tensor_counts(num_inputs, num_outputs);
        params_for([&](int i) -> const Dims & { return inputs[i].min; }, inputs[0].desc.type);
        params_for([&](int i) -> const Dims & { return inputs[i].max; }, inputs[0].desc.type);
    });
}

size_t AnchorDecodePlugin::getWorkspaceSize(const DynamicPluginTensorDesc *inputs, int32_t,
                                            const DynamicPluginTensorDesc *, int32_t) const noexcept {
    return guarded<size_t>(kName, 0, [&] {
        return anchor_decode_workspace_bytes(
            params_for([&](int i) -> const Dims & { return inputs[i].max; }, inputs[0].desc.type));
    });
}

int32_t AnchorDecodePlugin::onShapeChange(const PluginTensorDesc *inputs, int32_t num_inputs, const PluginTensorDesc *,
                                          int32_t num_outputs) noexcept {
    return guarded_status(kName, [&] {
        require_tensor_counts(num_inputs, num_outputs);
        params_for([&](int i) -> const Dims & { return inputs[i].dims; }, inputs[0].type);
    });
}

int32_t AnchorDecodePlugin::enqueue(const PluginTensorDesc *input_descs, const PluginTensorDesc *,
                                    const void *const *inputs, void *const *outputs, void *workspace,
                                    cudaStream_t stream) noexcept {
    return guarded_status(kName, [&] {
        AnchorDecodeParams params =
            params_for([&](int i) -> const Dims & { return input_descs[i].dims; }, input_descs[0].type);
        AnchorDecodeInputs heads;
        for (int l = 0; l < params.num_levels; ++l) {
            for (const Head &head : heads_) {
                (heads.*head.pointers)[l] = *inputs++;
            }
        }
        AnchorDecodeOutputs results;
        results.boxes = static_cast<float *>(*outputs++);
        results.scores = static_cast<float *>(*outputs++);
        results.landmarks = params.has_landmarks ? static_cast<float *>(*outputs++) : nullptr;
        results.count = static_cast<int32_t *>(*outputs);
        // TensorRT holds a workspace for the profile's largest shapes, so at least this much.
        check_cuda(anchor_decode_cuda(params, heads, results, workspace, anchor_decode_workspace_bytes(params), stream),
                   "anchor_decode_cuda");
    });
}

}  // namespace retinaface
