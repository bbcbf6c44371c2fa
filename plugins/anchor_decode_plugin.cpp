#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "base/plugin_base.h"
#include "ops/anchor_decode.h"
#include "registry.h"

namespace retinaface {
namespace {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;

/// What both versions of the plugin have.
struct DecodeAttributes {
    std::vector<int32_t> strides;
    std::vector<float> anchor_sizes;    // widths, level by level
    std::vector<float> anchor_heights;  // empty: square anchors
    std::vector<int32_t> num_anchors;   // per cell, of each level
    std::vector<float> variances;       // of centres, of sizes
    float score_threshold = 0.0f;
    int32_t top_k = 0;
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
        fields.optional("cascade", self.cascade);
    }
};

/// The published heads: two classes, and five landmarks or none.
struct DecodeAttributes1 : DecodeAttributes {
    static constexpr const char *kVersion = "1";
    int32_t has_landmarks = 1;

    template <typename Fields, typename Self>
    static void describe(Fields &fields, Self &self) {
        DecodeAttributes::describe(fields, self);
        fields.optional("has_landmarks", self.has_landmarks);
    }

    void set_heads(AnchorDecodeParams &params) const {
        params.num_points = flag_of("has_landmarks", has_landmarks) ? kLandmarkPoints : 0;
    }
};

/// Heads of any kind.
struct DecodeAttributes2 : DecodeAttributes {
    static constexpr const char *kVersion = "2";
    int32_t num_classes = 0;
    int32_t sigmoid = 0;
    int32_t num_points = 0;
    std::vector<int32_t> value_sizes;
    std::vector<int32_t> value_points;  // 1: a head's values are points; empty: none are, as before there was this

    template <typename Fields, typename Self>
    static void describe(Fields &fields, Self &self) {
        DecodeAttributes::describe(fields, self);
        fields.required("num_classes", self.num_classes);
        fields.optional("sigmoid", self.sigmoid);
        fields.optional("num_points", self.num_points);
        fields.optional("value_sizes", self.value_sizes);
        fields.optional("value_points", self.value_points);
    }

    void set_heads(AnchorDecodeParams &params) const {
        params.num_classes = num_classes;
        params.sigmoid = flag_of("sigmoid", sigmoid);
        params.num_points = num_points;
        require(value_sizes.size() <= kMaxValueHeads, "attribute 'value_sizes': expected at most ", kMaxValueHeads,
                " values, got ", value_sizes.size());
        params.num_value_heads = static_cast<int>(value_sizes.size());
        std::copy(value_sizes.begin(), value_sizes.end(), params.value_sizes);
        require(value_points.empty() || value_points.size() == value_sizes.size(),
                "attribute 'value_points': expected ", value_sizes.size(),
                " values, as many as in 'value_sizes', or none, got ", value_points.size());
        for (size_t head = 0; head < value_points.size(); ++head) {
            params.value_points[head] = flag_of("value_points", value_points[head]);
        }
    }
};

/// Checked here as well as by the operator, so that the message names the attribute.
template <typename T>
void require_positive(const char *name, const std::vector<T> &values) {
    for (T value : values) {
        require(std::isfinite(value) && value > 0, "attribute '", name, "': expected finite values above 0, got ",
                value);
    }
}

template <typename Attributes>
AnchorDecodeParams params_of(const Attributes &attributes) {
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

    AnchorDecodeParams params;
    params.batch = 1;
    params.num_levels = static_cast<int>(levels);
    size_t anchor = 0;
    for (size_t l = 0; l < levels; ++l) {
        AnchorLevel &level = params.levels[l];
        level.height = level.width = 1;
        level.stride = attributes.strides[l];
        level.num_anchors = attributes.num_anchors[l];
        for (int a = 0; a < level.num_anchors; ++a, ++anchor) {
            level.anchor_sizes[a] = {attributes.anchor_sizes[anchor], heights[anchor]};
        }
    }
    params.centre_variance = attributes.variances[0];
    params.size_variance = attributes.variances[1];
    params.score_threshold = attributes.score_threshold;
    params.top_k = attributes.top_k;
    attributes.set_heads(params);
    params.cascade = flag_of("cascade", attributes.cascade);
    validate_anchor_decode(params);
    return params;
}

struct Head {
    std::string name;
    int channels_per_anchor;
    const void **(*pointers)(AnchorDecodeInputs &inputs, int index);  // of all levels
    int index = 0;                                                    // among heads of the same kind
};

/// The heads of each level, in the order of the inputs.
std::vector<Head> heads_of(const AnchorDecodeParams &params) {
    std::vector<Head> heads = {
        {"logits", logits_per_anchor(params), [](AnchorDecodeInputs &inputs, int) { return inputs.logits; }},
        {"box_deltas", 4, [](AnchorDecodeInputs &inputs, int) { return inputs.box_deltas; }}};
    if (params.num_points > 0) {
        heads.push_back({"landmark_deltas", 2 * params.num_points,
                         [](AnchorDecodeInputs &inputs, int) { return inputs.landmark_deltas; }});
    }
    if (params.cascade) {
        heads.push_back({"anchor_deltas", 4, [](AnchorDecodeInputs &inputs, int) { return inputs.anchor_deltas; }});
    }
    for (int i = 0; i < params.num_value_heads; ++i) {
        heads.push_back({"values " + std::to_string(i), params.value_sizes[i],
                         [](AnchorDecodeInputs &inputs, int index) { return inputs.values[index]; }, i});
    }
    return heads;
}

/// RetinaFaceDecode: from the raw heads of all levels to the best candidates of each image.
template <typename Attributes>
class AnchorDecodePlugin final : public PluginBase<AnchorDecodePlugin<Attributes>, Attributes, AnchorDecodeParams> {
  public:
    static constexpr const char *kName = "RetinaFaceDecode";
    static constexpr const char *kVersion = Attributes::kVersion;

    explicit AnchorDecodePlugin(Attributes attributes)
        : PluginBase<AnchorDecodePlugin, Attributes, AnchorDecodeParams>(std::move(attributes)),
          params_(params_of(this->attributes_)),
          heads_(heads_of(params_)) {}

    int32_t getNbOutputs() const noexcept override { return count_output() + 1 + (has_classes() ? 1 : 0); }

  private:
    bool has_payload() const { return payload_size(params_) > 0; }
    bool has_classes() const { return params_.num_classes > 2; }
    int32_t count_output() const { return has_payload() ? 3 : 2; }
    int num_heads() const { return static_cast<int>(heads_.size()); }
    int channels(int level, int head) const {
        return params_.levels[level].num_anchors * heads_[head].channels_per_anchor;
    }

    void require_num_inputs(int32_t num_inputs) const override {
        int expected = params_.num_levels * num_heads();
        require(num_inputs == expected, "expected ", expected, " inputs (", num_heads(), " heads for each of the ",
                params_.num_levels, " levels in attribute 'strides'), got ", num_inputs);
    }

    void output_types(const DataType *, DataType *outputs) const override {
        for (int32_t i = 0; i < getNbOutputs(); ++i) {
            outputs[i] = i < count_output() ? DataType::kFLOAT : DataType::kINT32;
        }
    }

    void output_shapes(const DimsExprs *inputs, int32_t num_inputs, DimsExprs *outputs,
                       nvinfer1::IExprBuilder &builder) const override {
        for (int32_t i = 0; i < num_inputs; ++i) {
            int level = i / num_heads();
            int head = i % num_heads();
            require_dims(inputs[i], {-1, channels(level, head), -1, -1}, heads_[head].name.c_str(), level);
        }
        auto *batch = inputs[0].d[0];
        auto *top_k = builder.constant(params_.top_k);
        *outputs++ = {3, {batch, top_k, builder.constant(4)}};
        *outputs++ = {2, {batch, top_k}};
        if (has_payload()) {
            *outputs++ = {3, {batch, top_k, builder.constant(payload_size(params_))}};
        }
        *outputs++ = {1, {batch}};
        if (has_classes()) {
            *outputs = {2, {batch, top_k}};
        }
    }

    bool supports(int32_t position, const nvinfer1::DynamicPluginTensorDesc *tensors,
                  int32_t num_inputs) const override {
        const auto &tensor = tensors[position];
        if (position == 0) {
            return is_linear(tensor, DataType::kFLOAT) || is_linear(tensor, DataType::kHALF) ||
                   is_linear(tensor, DataType::kBF16);
        }
        if (position < num_inputs) {
            return is_linear(tensor, tensors[0].desc.type);
        }
        bool is_integer = position >= num_inputs + count_output();
        return is_linear(tensor, is_integer ? DataType::kINT32 : DataType::kFLOAT);
    }

    AnchorDecodeParams params_for(const Tensors &inputs) const override {
        AnchorDecodeParams params = params_;
        params.dtype = dtype_of(inputs.type(0));
        for (int l = 0, i = 0; l < params.num_levels; ++l) {
            const Dims &logits = inputs.dims(i);
            require(logits.nbDims == 4, "logits of level ", l, ": expected 4 dimensions, got ", logits.nbDims);
            const int64_t batch = inputs.dims(0).d[0];
            params.batch = static_cast<int>(batch);
            params.levels[l].height = static_cast<int>(logits.d[2]);
            params.levels[l].width = static_cast<int>(logits.d[3]);
            for (int head = 0; head < num_heads(); ++head, ++i) {
                require_dims(inputs.dims(i), {batch, channels(l, head), logits.d[2], logits.d[3]},
                             heads_[head].name.c_str(), l);
            }
        }
        validate_anchor_decode(params);
        return params;
    }

    size_t workspace_bytes(const AnchorDecodeParams &params) const override {
        return anchor_decode_workspace_bytes(params);
    }

    cudaError_t launch(const AnchorDecodeParams &params, const Buffers &buffers) const override {
        const void *const *in = buffers.inputs;
        void *const *out = buffers.outputs;
        AnchorDecodeInputs inputs;
        for (int l = 0; l < params.num_levels; ++l) {
            for (const Head &head : heads_) {
                head.pointers(inputs, head.index)[l] = *in++;
            }
        }
        AnchorDecodeOutputs outputs;
        outputs.boxes = static_cast<float *>(*out++);
        outputs.scores = static_cast<float *>(*out++);
        outputs.payload = has_payload() ? static_cast<float *>(*out++) : nullptr;
        outputs.count = static_cast<int32_t *>(*out++);
        outputs.classes = has_classes() ? static_cast<int32_t *>(*out) : nullptr;
        return anchor_decode_cuda(params, inputs, outputs, buffers.workspace, workspace_bytes(params), buffers.stream);
    }

    const AnchorDecodeParams params_;  // without batch and map sizes, which each launch has
    const std::vector<Head> heads_;
};

}  // namespace

nvinfer1::IPluginCreatorInterface *anchor_decode_creator() {
    static PluginCreator<AnchorDecodePlugin<DecodeAttributes1>> creator;
    return &creator;
}

nvinfer1::IPluginCreatorInterface *anchor_decode_2_creator() {
    static PluginCreator<AnchorDecodePlugin<DecodeAttributes2>> creator;
    return &creator;
}

}  // namespace retinaface
