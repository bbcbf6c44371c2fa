#include "ops/deform_conv.h"

#include <algorithm>
#include <vector>

#include "common/check.h"
#include "common/parallel.h"
#include "math/deform_sample.h"

namespace retinaface {
namespace {

constexpr int64_t kRowsPerPiece = 4;

/// A pixel times its weight; zero outside the map. A pixel without weight is not read: it may be infinite.
float weighted_pixel(float weight, const float *map, int y, int x, int height, int width) {
    bool is_read = weight != 0.0f && y >= 0 && x >= 0 && y < height && x < width;
    return is_read ? weight * map[static_cast<int64_t>(y) * width + x] : 0.0f;
}

/// Samples the input for one row of the output: columns [Ci * taps, out_width].
void gather_row(const DeformConvParams &p, const DeformConvInputs &inputs, int image, int row, float *columns) {
    const int taps = p.kernel_h * p.kernel_w;
    const int out_width = deform_conv_out_width(p);
    const int64_t out_plane = static_cast<int64_t>(deform_conv_out_height(p)) * out_width;
    const int64_t plane = static_cast<int64_t>(p.height) * p.width;
    const int channels = p.in_channels / p.offset_groups;
    const float *x = static_cast<const float *>(inputs.x) + image * p.in_channels * plane;
    for (int slot = 0; slot < p.offset_groups * taps; ++slot) {
        const int group = slot / taps;
        const int tap = slot % taps;
        const int64_t index = static_cast<int64_t>(image) * p.offset_groups * taps + slot;
        const float *dy = static_cast<const float *>(inputs.offset) + 2 * index * out_plane + int64_t{row} * out_width;
        const float *dx = dy + out_plane;
        const float *mask = inputs.mask == nullptr ? nullptr
                                                   : static_cast<const float *>(inputs.mask) + index * out_plane +
                                                         int64_t{row} * out_width;
        const int tap_y = row * p.stride_h - p.pad_top + tap / p.kernel_w * p.dilation_h;
        for (int column = 0; column < out_width; ++column) {
            const int tap_x = column * p.stride_w - p.pad_left + tap % p.kernel_w * p.dilation_w;
            DeformSample at;
            const bool inside =
                deform_sample(static_cast<float>(tap_y) + dy[column], static_cast<float>(tap_x) + dx[column], p.height,
                              p.width, mask == nullptr ? 1.0f : mask[column], at);
            for (int c = group * channels; c < (group + 1) * channels; ++c) {
                const float *map = x + c * plane;
                float value = 0.0f;
                if (inside) {
                    value = weighted_pixel(at.top_left, map, at.y, at.x, p.height, p.width) +
                            weighted_pixel(at.top_right, map, at.y, at.x + 1, p.height, p.width) +
                            weighted_pixel(at.bottom_left, map, at.y + 1, at.x, p.height, p.width) +
                            weighted_pixel(at.bottom_right, map, at.y + 1, at.x + 1, p.height, p.width);
                }
                columns[(static_cast<int64_t>(c) * taps + tap) * out_width + column] = value;
            }
        }
    }
}

void multiply_row(const DeformConvParams &p, const DeformConvInputs &inputs, int image, int row, const float *columns,
                  float *y) {
    const int out_width = deform_conv_out_width(p);
    const int64_t out_plane = static_cast<int64_t>(deform_conv_out_height(p)) * out_width;
    const int depth = p.in_channels / p.groups * p.kernel_h * p.kernel_w;
    const int group_outputs = p.out_channels / p.groups;
    for (int co = 0; co < p.out_channels; ++co) {
        const float *weight = static_cast<const float *>(inputs.weight) + static_cast<int64_t>(co) * depth;
        const float *column = columns + static_cast<int64_t>(co / group_outputs) * depth * out_width;
        float *out = y + (static_cast<int64_t>(image) * p.out_channels + co) * out_plane + int64_t{row} * out_width;
        std::fill(out, out + out_width, inputs.bias == nullptr ? 0.0f : static_cast<const float *>(inputs.bias)[co]);
        for (int k = 0; k < depth; ++k, column += out_width) {
            for (int i = 0; i < out_width; ++i) {
                out[i] += weight[k] * column[i];
            }
        }
    }
}

}  // namespace

void deform_conv_cpu(const DeformConvParams &p, const DeformConvInputs &inputs, void *y, int num_threads) {
    validate_deform_conv(p);
    require(p.dtype == DType::kFloat32 && p.layout == Layout::kLinear, "dtype is ", name_of(p.dtype),
            ", expected float32 for arrays on the host");
    const int out_height = deform_conv_out_height(p);
    const int64_t rows = static_cast<int64_t>(p.batch) * out_height;
    const size_t column_floats =
        static_cast<size_t>(p.in_channels) * p.kernel_h * p.kernel_w * deform_conv_out_width(p);
    parallel_for(rows, kRowsPerPiece, num_threads, [&](int64_t begin, int64_t end) {
        std::vector<float> columns(column_floats);
        for (int64_t i = begin; i < end; ++i) {
            const int image = static_cast<int>(i / out_height);
            const int row = static_cast<int>(i % out_height);
            gather_row(p, inputs, image, row, columns.data());
            multiply_row(p, inputs, image, row, columns.data(), static_cast<float *>(y));
        }
    });
}

}  // namespace retinaface
