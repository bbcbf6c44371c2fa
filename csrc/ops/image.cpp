#include "ops/image.h"

#include "common/check.h"

namespace retinaface {

bool is_image_side(int length) {
    return 1 <= length && length <= kMaxImageSide;
}

void require_images(const ImageView *images, int count) {
    for (int i = 0; i < count; ++i) {
        const ImageView &image = images[i];
        require(image.data != nullptr, "images[", i, "] has no data");
        require(is_image_side(image.height) && is_image_side(image.width), "images[", i, "] has ", image.height,
                " rows and ", image.width, " columns, expected 1 to ", kMaxImageSide, " of each");
        require(image.pitch_bytes >= 3 * static_cast<int64_t>(image.width), "images[", i, "] has rows ",
                image.pitch_bytes, " bytes apart, expected at least ", 3 * image.width);
    }
}

}  // namespace retinaface
