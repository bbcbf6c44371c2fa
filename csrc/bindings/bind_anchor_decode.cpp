#include <algorithm>
#include <string>
#include <vector>

#include "bindings/arguments/arguments.h"
#include "bindings/arrays/array.h"
#include "bindings/arrays/results.h"
#include "bindings/arrays/unlocked.h"
#include "bindings/operators.h"
#include "ops/anchor_decode.h"
#ifdef RETINAFACE_HAS_CUDA
#include "bindings/arrays/launch.h"
#endif

namespace retinaface::bindings {
namespace {

// Per level: logits, box_deltas, landmark_deltas or None, in a cascade anchor_deltas, and behind that or None the
// values.
using Heads = std::vector<std::vector<py::object>>;

constexpr const char *kEntries =
    " entries, expected 3: logits, box_deltas, landmark_deltas or None; or, with anchor_deltas, 4 of every level; or, "
    "with "
    "up to 8 heads of values behind anchor_deltas or None, more";

std::string name_at(const char *head, int level) {
    return std::string(head) + " of level " + std::to_string(level);
}

Heads heads_of(const py::object &value) {
    const Name name("heads");
    Items levels(value, name, "a sequence with the heads of each level");
    require(1 <= levels.size() && levels.size() <= kMaxLevels, "heads has ", levels.size(), " levels, expected 1 to ",
            kMaxLevels);
    Heads heads(levels.size());
    for (size_t i = 0; i < heads.size(); ++i) {
        py::object level = levels[i];
        const Name part = name[i];
        Items entries(level, part, "a tuple: logits, box_deltas, landmark_deltas or None");
        require(3 <= entries.size() && entries.size() <= 4 + kMaxValueHeads, part.text(), " has ", entries.size(),
                kEntries);
        for (size_t k = 0; k < entries.size(); ++k) {
            heads[i].push_back(entries[k]);
        }
        require(heads[i].size() == heads[0].size(), part.text(), " has ", entries.size(), kEntries);
    }
    return heads;
}

/// The items of an argument that has one for each level.
Items per_level(const py::object &value, const Name &name, const char *expected, int levels) {
    Items items(value, name, expected);
    require(items.size() == static_cast<size_t>(levels), name.text(), " has ", items.size(), " entries, expected ",
            levels, ", one per level of heads");
    return items;
}

AnchorSize anchor_size(const py::object &size, const Name &name) {
    constexpr const char *kExpected = "the side of a square anchor in pixels, or (width, height)";
    if (!is_sequence(size)) {
        float side = float_of(size, name, kExpected);
        return {side, side};
    }
    Items sides(size, name, kExpected);
    if (sides.size() != 2) {
        refuse(name, size, kExpected);
    }
    return {float_of(sides[0], name[0]), float_of(sides[1], name[1])};
}

void set_strides(AnchorDecodeParams &params, const py::object &value) {
    const Name name("strides");
    Items strides = per_level(value, name, "a sequence with the stride of each level", params.num_levels);
    for (int i = 0; i < params.num_levels; ++i) {
        params.levels[i].stride = int_of(strides[i], name[i]);
    }
}

void set_anchor_sizes(AnchorDecodeParams &params, const py::object &value) {
    const Name name("anchor_sizes");
    Items levels = per_level(value, name, "a sequence with the anchors of each level", params.num_levels);
    for (int i = 0; i < params.num_levels; ++i) {
        AnchorLevel &level = params.levels[i];
        py::object given = levels[i];
        const Name part = name[i];
        Items sizes(given, part, "the anchors of a cell: a list of sizes");
        require(1 <= sizes.size() && sizes.size() <= kMaxAnchorsPerCell, part.text(), " has ", sizes.size(),
                " entries, expected 1 to ", kMaxAnchorsPerCell);
        level.num_anchors = static_cast<int>(sizes.size());
        for (size_t k = 0; k < sizes.size(); ++k) {
            level.anchor_sizes[k] = anchor_size(sizes[k], part[k]);
        }
    }
}

void set_variances(AnchorDecodeParams &params, const py::object &value) {
    const Name name("variances");
    Items variances(value, name, "two numbers: of centres and of sizes");
    require(variances.size() == 2, "variances has ", variances.size(), " values, expected 2: of centres and of sizes");
    params.centre_variance = float_of(variances[0], name[0]);
    params.size_variance = float_of(variances[1], name[1]);
}

/// Which heads of values hold points; none of them if there is no entry.
void set_value_points(AnchorDecodeParams &params, const py::object &value) {
    const Name name("value_points");
    Items flags(value, name, "a sequence of bools, one for each head of values");
    require(flags.size() == 0 || flags.size() == static_cast<size_t>(params.num_value_heads), "value_points has ",
            flags.size(), " entries, expected ", params.num_value_heads, ", one for each head of values, or none");
    for (size_t i = 0; i < flags.size(); ++i) {
        params.value_points[i] = bool_of(flags[i], name[i]);
    }
}

/// The head of a level. On the host, whose operators have no narrower type, float16 becomes float32.
py::object widened(const py::object &head, const Place &place) {
    if (!place.on_host() || !py::isinstance<py::array>(head)) {
        return head;
    }
    auto dtype = py::reinterpret_borrow<py::array>(head).dtype();
    bool half = dtype.kind() == 'f' && dtype.itemsize() == 2 && dtype.byteorder() == '=';
    return half ? head.attr("astype")("float32") : head;
}

DType head_type(const Array &logits) {
    if (logits.device == kHost) {
        logits.expect_type({ElementType::kFloat32});
    } else {
        logits.expect_type({ElementType::kFloat32, ElementType::kFloat16, ElementType::kBFloat16});
    }
    return float_type(logits.type);
}

/// The components of an anchor in a head, from its channels.
int components(const Array &array, int num_anchors, int per_component, const char *what) {
    array.expect_dims(4, "[N, C, h, w]");
    const int channels = array.int_extent(1), step = num_anchors * per_component;
    require(channels > 0 && channels % step == 0, array.name, " has ", channels, " channels, expected a multiple of ",
            step, ": ", what, " of each of ", num_anchors, " anchors");
    return channels / step;
}

py::tuple decode(const py::object &heads_given, const py::object &strides, const py::object &anchor_sizes,
                 const py::object &variances, const py::object &score_threshold, const py::object &top_k,
                 const py::object &classes, const py::object &sigmoid, const py::object &value_points,
                 const py::object &stream) {
    const Heads heads = heads_of(heads_given);
    AnchorDecodeParams params;
    params.num_levels = static_cast<int>(heads.size());
    params.cascade = heads[0].size() >= 4 && !heads[0][3].is_none();
    params.num_value_heads = std::max(static_cast<int>(heads[0].size()) - 4, 0);
    params.num_classes = int_of(classes, Name("classes"));
    params.sigmoid = bool_of(sigmoid, Name("sigmoid"));
    set_value_points(params, value_points);
    set_strides(params, strides);
    set_anchor_sizes(params, anchor_sizes);
    set_variances(params, variances);
    params.score_threshold = float_of(score_threshold, Name("score_threshold"));
    params.top_k = int_of(top_k, Name("top_k"));

    Place place = place_of(heads[0][0], name_at("logits", 0), stream);
    AnchorDecodeInputs inputs;
    std::vector<Array> arrays;  // keeps them alive while the operator runs
    auto add_array = [&](int level, int entry, const std::string &name) -> const Array & {
        return arrays.emplace_back(view(widened(heads[level][entry], place), name, place));
    };
    arrays.reserve(heads.size() * heads[0].size());
    for (int i = 0; i < params.num_levels; ++i) {
        AnchorLevel &level = params.levels[i];
        const Array &logits = add_array(i, 0, name_at("logits", i));
        logits.expect_dims(4, params.sigmoid ? "[N, (C - 1) A, h, w]" : "[N, C A, h, w]");
        params.batch = arrays[0].int_extent(0);
        level.height = logits.int_extent(2);
        level.width = logits.int_extent(3);
        validate_classes(params);
        auto expect = [&](const Array &array, int width) {
            array.expect(arrays[0].type, {params.batch, width * level.num_anchors, level.height, level.width});
            return array.data;
        };
        inputs.logits[i] = expect(logits, logits_per_anchor(params));
        inputs.box_deltas[i] = expect(add_array(i, 1, name_at("box_deltas", i)), 4);
        // The first level says how many values each head has.
        auto expect_as_first = [&](const Array &array, int per_component, const char *what, int &size) {
            size = i == 0 ? components(array, level.num_anchors, per_component, what) : size;
            return expect(array, per_component * size);
        };
        const bool has_landmarks = !heads[0][2].is_none();
        require(heads[i][2].is_none() != has_landmarks, name_at("landmark_deltas", i),
                has_landmarks ? " is None" : " is given", ", unlike that of level 0");
        params.num_points = has_landmarks ? params.num_points : 0;
        if (has_landmarks) {
            inputs.landmark_deltas[i] = expect_as_first(add_array(i, 2, name_at("landmark_deltas", i)), 2,
                                                        "x and y of points", params.num_points);
        }
        if (params.cascade) {
            inputs.anchor_deltas[i] = expect(add_array(i, 3, name_at("anchor_deltas", i)), 4);
        } else {
            require(heads[i].size() == 3 || heads[i][3].is_none(), name_at("anchor_deltas", i),
                    " is given, unlike that of level 0");
        }
        for (int head = 0; head < params.num_value_heads; ++head) {
            const Array &values = add_array(i, 4 + head, name_at(("values " + std::to_string(head)).c_str(), i));
            inputs.values[head][i] = expect_as_first(values, 1, "values", params.value_sizes[head]);
        }
    }
    params.dtype = head_type(arrays[0]);
    validate_anchor_decode(params);

    Results results(place);
    AnchorDecodeOutputs outputs;
    outputs.boxes = results.floats({params.batch, params.top_k, 4});
    outputs.scores = results.floats({params.batch, params.top_k});
    if (payload_size(params) > 0) {
        outputs.payload = results.floats({params.batch, params.top_k, payload_size(params)});
    } else {
        results.add_none();
    }
    outputs.count = results.ints({params.batch});
    if (params.num_classes > 2) {
        outputs.classes = results.ints({params.batch, params.top_k});
    } else {
        results.add_none();
    }

    if (place.on_host()) {
        Unlocked unlocked;
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
               py::arg("variances"), py::arg("score_threshold"), py::arg("top_k"), py::arg("classes") = 2,
               py::arg("sigmoid") = false, py::arg("value_points") = py::tuple(), py::arg("stream") = py::none());
}

}  // namespace retinaface::bindings
