#include "ops/align.h"

#include <cmath>

#include "common/check.h"
#include "common/landmarks.h"

namespace retinaface {
namespace {

void require_crop_side(const char *what, int given) {
    require(1 <= given && given <= kMaxCropSide, what, " is ", given, ", expected 1 to ", kMaxCropSide, " pixels");
}

}  // namespace

void validate_align(const AlignParams &params, const ImageView *images) {
    require(params.faces >= 0 && params.images >= 0, "faces and images are ", params.faces, " and ", params.images,
            ", expected at least 0");
    require_crop_side("crop height", params.height);
    require_crop_side("crop width", params.width);
    bool coincide = true;
    for (int i = 0; i < kLandmarkValues; ++i) {
        const float value = params.template_points[i];
        require(std::isfinite(value), "template[", i / 2, "][", i % 2, "] is ", value, ", expected a finite number");
        coincide = coincide && value == params.template_points[i % 2];
    }
    require(!coincide, "template is one point five times, expected five different points");
    require(params.images > 0 || params.faces == 0, "images has no images, expected those of ", params.faces, " faces");
    require_images(images, params.images);
}

}  // namespace retinaface
