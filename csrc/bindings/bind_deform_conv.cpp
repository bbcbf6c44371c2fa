#include <array>

#include "bindings/arguments/arguments.h"
#include "bindings/arrays/array.h"
#include "bindings/arrays/results.h"
#include "bindings/arrays/unlocked.h"
#include "bindings/operators.h"
#include "ops/deform_conv.h"
#ifdef RETINAFACE_HAS_CUDA
#include "bindings/arrays/launch.h"
#endif

namespace retinaface::bindings {
namespace {

/// Top, left, bottom, right.
std::array<int, 4> padding_of(const py::object &value) {
    const Name name("padding");
    if (!is_sequence(value)) {
        int side = int_of(value, name);
        return {side, side, side, side};
    }
    Items sides(value, name, "a sequence");
    require(sides.size() == 2 || sides.size() == 4, "padding has ", sides.size(), " values, expected one, 2 or 4");
    std::array<int, 4> padding;
    for (size_t i = 0; i < 4; ++i) {
        size_t item = i % sides.size();
        padding[i] = int_of(sides[item], name[item]);
    }
    return padding;
}

py::object deform_conv(const py::object &x, const py::object &weight, const py::object &offset, const py::object &bias,
                       const py::object &mask, const py::object &stride_given, const py::object &padding_given,
                       const py::object &dilation_given, const py::object &groups, const py::object &offset_groups,
                       const py::object &stream) {
    const auto stride = ints_of(stride_given, Name("stride")), dilation = ints_of(dilation_given, Name("dilation"));
    const auto padding = padding_of(padding_given);
    Place place = place_of(x, "x", stream);
    Array x_array = view(x, "x", place);
    Array weight_array = view(weight, "weight", place);
    if (place.on_host()) {
        x_array.expect_type({ElementType::kFloat32});
    } else {
        x_array.expect_type({ElementType::kFloat32, ElementType::kFloat16, ElementType::kBFloat16});
    }
    x_array.expect_dims(4, "[N, Ci, H, W]");
    weight_array.expect_dims(4, "[Co, Ci / groups, kh, kw]");

    DeformConvParams params;
    params.batch = x_array.int_extent(0);
    params.in_channels = x_array.int_extent(1);
    params.height = x_array.int_extent(2);
    params.width = x_array.int_extent(3);
    params.out_channels = weight_array.int_extent(0);
    params.kernel_h = weight_array.int_extent(2);
    params.kernel_w = weight_array.int_extent(3);
    params.stride_h = stride[0];
    params.stride_w = stride[1];
    params.pad_top = padding[0];
    params.pad_left = padding[1];
    params.pad_bottom = padding[2];
    params.pad_right = padding[3];
    params.dilation_h = dilation[0];
    params.dilation_w = dilation[1];
    params.groups = int_of(groups, Name("groups"));
    params.offset_groups = int_of(offset_groups, Name("offset_groups"));
    params.dtype = float_type(x_array.type);
    validate_deform_conv(params);

    const int64_t out_height = deform_conv_out_height(params);
    const int64_t out_width = deform_conv_out_width(params);
    const int64_t slots = int64_t{params.offset_groups} * params.kernel_h * params.kernel_w;
    DeformConvInputs inputs;
    std::vector<Array> arrays;  // keeps them alive while the operator runs
    auto add = [&](const py::object &object, const char *name, const Shape &shape) {
        const Array &array = arrays.emplace_back(view(object, name, place));
        array.expect(x_array.type, shape);
        return array.data;
    };
    inputs.x = add(x, "x", x_array.shape);
    inputs.weight = add(weight, "weight",
                        {params.out_channels, params.in_channels / params.groups, params.kernel_h, params.kernel_w});
    inputs.offset = add(offset, "offset", {params.batch, 2 * slots, out_height, out_width});
    inputs.bias = bias.is_none() ? nullptr : add(bias, "bias", {params.out_channels});
    inputs.mask = mask.is_none() ? nullptr : add(mask, "mask", {params.batch, slots, out_height, out_width});

    Results results(place);
    void *y = results.add(x_array.type, {params.batch, params.out_channels, out_height, out_width});
    if (place.on_host()) {
        Unlocked unlocked;
        deform_conv_cpu(params, inputs, y);
    }
#ifdef RETINAFACE_HAS_CUDA
    if (!place.on_host()) {
        launch("deform_conv", place, deform_conv_workspace_bytes(params),
               [&](void *workspace, size_t bytes, cudaStream_t cuda_stream) {
                   return deform_conv_cuda(params, inputs, y, workspace, bytes, cuda_stream);
               });
    }
#endif
    return results.take()[0];
}

}  // namespace

void bind_deform_conv(py::module_ &module) {
    module.def("deform_conv", &deform_conv, py::arg("x"), py::arg("weight"), py::arg("offset"), py::arg("bias"),
               py::arg("mask"), py::kw_only(), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
               py::arg("groups"), py::arg("offset_groups"), py::arg("stream") = py::none());
}

}  // namespace retinaface::bindings
