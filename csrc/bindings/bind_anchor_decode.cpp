#include <pybind11/stl.h>

#include "bindings/arrays/array.h"
#include "bindings/arrays/results.h"
#include "bindings/operators.h"
#include "ops/anchor_decode.h"
#ifdef RETINAFACE_HAS_CUDA
#include "bindings/arrays/launch.h"
#endif

namespace retinaface::bindings {
namespace {

using Heads = std::vector<py::tuple>;  // per level: logits, box_deltas, landmark_deltas or None, and anchor_deltas
using AnchorSizes = std::vector<std::vector<std::pair<float, float>>>;  // width and height

std::string name_at(const char *head, int level) {
    return std::string(head) + " of level " + std::to_string(level);
}

void expect_levels(const char *name, size_t given, size_t levels) {
    require(given == levels, name, " has ", given, " entries, expected ", levels, ", one per level of heads");
}

/// All parameters but those that come from the arrays.
AnchorDecodeParams params_of(const Heads &heads, const std::vector<int> &strides, const AnchorSizes &anchor_sizes,
                             std::pair<float, float> variances, float score_threshold, int top_k) {
    require(!heads.empty() && heads.size() <= kMaxLevels, "heads has ", heads.size(), " levels, expected 1 to ",
            kMaxLevels);
    expect_levels("strides", strides.size(), heads.size());
    expect_levels("anchor_sizes", anchor_sizes.size(), heads.size());
    AnchorDecodeParams params;
    params.num_levels = static_cast<int>(heads.size());
    params.cascade = heads[0].size() == 4;
    for (int i = 0; i < params.num_levels; ++i) {
        require(heads[i].size() == (params.cascade ? 4 : 3), "heads[", i, "] has ", heads[i].size(),
                " entries, expected 3: logits, box_deltas, landmark_deltas or None; or, with anchor_deltas, 4 of every "
                "level");
        const auto &sizes = anchor_sizes[i];
        require(!sizes.empty() && sizes.size() <= kMaxAnchorsPerCell, "anchor_sizes[", i, "] has ", sizes.size(),
                " entries, expected 1 to ", kMaxAnchorsPerCell);
        params.levels[i].stride = strides[i];
        params.levels[i].num_anchors = static_cast<int>(sizes.size());
        std::transform(sizes.begin(), sizes.end(), params.levels[i].anchor_sizes,
                       [](const std::pair<float, float> &sides) { return AnchorSize{sides.first, sides.second}; });
    }
    params.centre_variance = variances.first;
    params.size_variance = variances.second;
    params.score_threshold = score_threshold;
    params.top_k = top_k;
    params.has_landmarks = !heads[0][2].is_none();
    return params;
}

DType head_type(const Array &logits) {
    if (logits.device == kHost) {
        logits.expect_type({ElementType::kFloat32});
    } else {
        logits.expect_type({ElementType::kFloat32, ElementType::kFloat16, ElementType::kBFloat16});
    }
    return float_type(logits.type);
}

py::tuple decode(const Heads &heads, const std::vector<int> &strides, const AnchorSizes &anchor_sizes,
                 std::pair<float, float> variances, float score_threshold, int top_k, const py::object &stream) {
    AnchorDecodeParams params = params_of(heads, strides, anchor_sizes, variances, score_threshold, top_k);
    Place place = place_of(heads[0][0], name_at("logits", 0), stream);
    AnchorDecodeInputs inputs;
    std::vector<Array> arrays;  // keeps them alive while the operator runs
    for (int i = 0; i < params.num_levels; ++i) {
        AnchorLevel &level = params.levels[i];
        auto add_head = [&](int entry, const char *head, int width) {
            const Array &array = arrays.emplace_back(view(heads[i][entry], name_at(head, i), place));
            if (entry == 0) {
                array.expect_dims(4, "[N, 2A, h, w]");
                params.batch = arrays[0].int_extent(0);
                level.height = array.int_extent(2);
                level.width = array.int_extent(3);
            }
            array.expect(arrays[0].type, {params.batch, width * level.num_anchors, level.height, level.width});
            return array.data;
        };
        inputs.logits[i] = add_head(0, "logits", 2);
        inputs.box_deltas[i] = add_head(1, "box_deltas", 4);
        require(heads[i][2].is_none() != params.has_landmarks, name_at("landmark_deltas", i),
                params.has_landmarks ? " is None" : " is given", ", unlike that of level 0");
        if (params.has_landmarks) {
            inputs.landmark_deltas[i] = add_head(2, "landmark_deltas", kLandmarkValues);
        }
        if (params.cascade) {
            inputs.anchor_deltas[i] = add_head(3, "anchor_deltas", 4);
        }
    }
    params.dtype = head_type(arrays[0]);
    validate_anchor_decode(params);

    Results results(place);
    AnchorDecodeOutputs outputs;
    outputs.boxes = results.floats({params.batch, params.top_k, 4});
    outputs.scores = results.floats({params.batch, params.top_k});
    if (params.has_landmarks) {
        outputs.landmarks = results.floats({params.batch, params.top_k, kLandmarkValues});
    } else {
        results.add_none();
    }
    outputs.count = results.ints({params.batch});

    if (place.on_host()) {
        py::gil_scoped_release unlocked;
        anchor_decode_cpu(params, inputs, outputs);
    }
#ifdef RETINAFACE_HAS_CUDA
    if (!place.on_host()) {
        launch("decode", place, anchor_decode_workspace_bytes(params),
               [&](void *workspace, size_t bytes, cudaStream_t cuda_stream) {
                   return anchor_decode_cuda(params, inputs, outputs, workspace, bytes, cuda_stream);
               });
    }
#endif
    return results.take();
}

}  // namespace

void bind_anchor_decode(py::module_ &module) {
    module.def("decode", &decode, py::arg("heads"), py::kw_only(), py::arg("strides"), py::arg("anchor_sizes"),
               py::arg("variances"), py::arg("score_threshold"), py::arg("top_k"), py::arg("stream") = py::none());
}

}  // namespace retinaface::bindings
