#include "ops/deform_conv.h"

#include "common/check.h"

namespace retinaface {
namespace {

constexpr int64_t kMaxPixels = INT32_MAX;  // a pixel's index within one map is an int

int out_side(int side, int pad_before, int pad_after, int kernel, int dilation, int stride) {
    int64_t room =
        static_cast<int64_t>(side) + pad_before + pad_after - static_cast<int64_t>(dilation) * (kernel - 1) - 1;
    return room < 0 ? 0 : static_cast<int>(room / stride + 1);
}

void require_range(const char *name, int value, int low, int high) {
    require(low <= value && value <= high, name, " is ", value, ", expected ", low, " to ", high);
}

void require_divides(const char *divisor_name, int divisor, const char *name, int value) {
    require(value % divisor == 0, divisor_name, " is ", divisor, ", expected a divisor of ", name, ", ", value);
}

}  // namespace

int deform_conv_out_height(const DeformConvParams &p) {
    return out_side(p.height, p.pad_top, p.pad_bottom, p.kernel_h, p.dilation_h, p.stride_h);
}

int deform_conv_out_width(const DeformConvParams &p) {
    return out_side(p.width, p.pad_left, p.pad_right, p.kernel_w, p.dilation_w, p.stride_w);
}

void validate_deform_conv(const DeformConvParams &p) {
    require_range("batch", p.batch, 0, kMaxDeformSize);
    require_range("in_channels", p.in_channels, 1, kMaxDeformSize);
    require_range("out_channels", p.out_channels, 1, kMaxDeformSize);
    require_range("height", p.height, 1, kMaxDeformSize);
    require_range("width", p.width, 1, kMaxDeformSize);
    require_range("kernel_h", p.kernel_h, 1, kMaxDeformKernelSide);
    require_range("kernel_w", p.kernel_w, 1, kMaxDeformKernelSide);
    require_range("stride_h", p.stride_h, 1, kMaxDeformStep);
    require_range("stride_w", p.stride_w, 1, kMaxDeformStep);
    require_range("dilation_h", p.dilation_h, 1, kMaxDeformStep);
    require_range("dilation_w", p.dilation_w, 1, kMaxDeformStep);
    require_range("pad_top", p.pad_top, 0, kMaxDeformSize);
    require_range("pad_left", p.pad_left, 0, kMaxDeformSize);
    require_range("pad_bottom", p.pad_bottom, 0, kMaxDeformSize);
    require_range("pad_right", p.pad_right, 0, kMaxDeformSize);
    require_range("groups", p.groups, 1, kMaxDeformGroups);
    require_range("offset_groups", p.offset_groups, 1, kMaxDeformSize);
    require_divides("groups", p.groups, "in_channels", p.in_channels);
    require_divides("groups", p.groups, "out_channels", p.out_channels);
    require_divides("offset_groups", p.offset_groups, "in_channels", p.in_channels);
    int out_height = deform_conv_out_height(p);
    int out_width = deform_conv_out_width(p);
    require(out_height > 0 && out_width > 0, "the kernel does not fit into the input of ", p.height, " x ", p.width,
            " pixels and its padding, expected a larger input or a smaller kernel or dilation");
    require((p.height + int64_t{1}) * (p.width + int64_t{1}) <= kMaxPixels &&
                static_cast<int64_t>(out_height) * out_width <= kMaxPixels,
            "maps of ", p.height, " x ", p.width, " and ", out_height, " x ", out_width,
            " pixels are given, expected fewer than 2^31 pixels");
    require(p.layout == Layout::kLinear || p.dtype != DType::kFloat32, "the kHwc8 layout is given for ",
            name_of(p.dtype), ", expected float16 or bfloat16");
}

}  // namespace retinaface
