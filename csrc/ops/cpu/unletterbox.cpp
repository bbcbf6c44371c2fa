#include "math/unletterbox.h"

#include "ops/letterbox.h"

namespace retinaface {
namespace {

/// `points` pairs x, y for each slot of one image.
void unletterbox_slots(const float *in, float *out, int used, int slots, int points, const float *transform) {
    for (int64_t i = 0; i < static_cast<int64_t>(slots) * points; ++i) {
        bool in_use = i < static_cast<int64_t>(used) * points;
        out[2 * i] = in_use ? unletterbox(in[2 * i], transform[1], transform[0]) : 0.0f;
        out[2 * i + 1] = in_use ? unletterbox(in[2 * i + 1], transform[2], transform[0]) : 0.0f;
    }
}

}  // namespace

void unletterbox_cpu(const UnletterboxParams &params, const UnletterboxInputs &inputs,
                     const UnletterboxOutputs &outputs) {
    for (int image = 0; image < params.batch; ++image) {
        int used = inputs.count == nullptr ? params.slots : inputs.count[image];
        int64_t first = static_cast<int64_t>(image) * params.slots;
        const float *transform = inputs.transforms + 3 * image;
        unletterbox_slots(inputs.boxes + 4 * first, outputs.boxes + 4 * first, used, params.slots, 2, transform);
        if (params.has_landmarks) {
            unletterbox_slots(inputs.landmarks + 10 * first, outputs.landmarks + 10 * first, used, params.slots, 5,
                              transform);
        }
    }
}

}  // namespace retinaface
