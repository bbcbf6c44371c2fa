#include "ops/letterbox.h"

#include <algorithm>
#include <cmath>

#include "common/check.h"

namespace retinaface {
namespace {

void require_side(bool ok, const char *what, int given) {
    require(ok, what, " is ", given, ", expected 1 to ", kMaxImageSide, " pixels");
}

void require_output_size(int height, int width) {
    require_side(is_image_side(height), "output height", height);
    require_side(is_image_side(width), "output width", width);
}

}  // namespace

LetterboxPlacement letterbox_placement(int height, int width, int out_height, int out_width, bool enlarge) {
    double scale = std::min(static_cast<double>(out_height) / height, static_cast<double>(out_width) / width);
    if (!enlarge) {
        scale = std::min(scale, 1.0);
    }
    auto resized = [&](int side, int limit) {
        return std::clamp(static_cast<int>(std::floor(side * scale + 0.5)), 1, limit);
    };
    LetterboxPlacement placement;
    placement.scale = static_cast<float>(scale);
    placement.height = resized(height, out_height);
    placement.width = resized(width, out_width);
    placement.pad_x = (out_width - placement.width) / 2;
    placement.pad_y = (out_height - placement.height) / 2;
    return placement;
}

void validate_letterbox(const LetterboxParams &params, const ImageView *images) {
    require(params.batch >= 0, "batch is ", params.batch, ", expected at least 0");
    require_output_size(params.out_height, params.out_width);
    for (int c = 0; c < 3; ++c) {
        require(std::isfinite(params.mean[c]), "mean[", c, "] is ", params.mean[c], ", expected a finite number");
        require(std::isfinite(params.std[c]) && params.std[c] > 0.0f, "std[", c, "] is ", params.std[c],
                ", expected a finite number above 0");
    }
    require(params.dtype != DType::kBFloat16, "dtype is bfloat16, expected float32 or float16");
    require_images(images, params.batch);
}

std::vector<UnletterboxPlacement> unletterbox_placements(const std::vector<std::pair<int, int>> &image_sizes,
                                                         int out_height, int out_width, bool enlarge) {
    require_output_size(out_height, out_width);
    auto factor = [](int side, int resized) { return static_cast<float>(static_cast<double>(side) / resized); };
    std::vector<UnletterboxPlacement> placements;
    for (size_t i = 0; i < image_sizes.size(); ++i) {
        auto [height, width] = image_sizes[i];
        require(is_image_side(height) && is_image_side(width), "image_sizes[", i, "] is (", height, ", ", width,
                "), expected 1 to ", kMaxImageSide, " pixels each");
        const LetterboxPlacement there = letterbox_placement(height, width, out_height, out_width, enlarge);
        placements.push_back({factor(width, there.width), factor(height, there.height), static_cast<float>(there.pad_x),
                              static_cast<float>(there.pad_y)});
    }
    return placements;
}

}  // namespace retinaface
