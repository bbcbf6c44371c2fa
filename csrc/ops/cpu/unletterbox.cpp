#include "math/unletterbox.h"

#include "ops/letterbox.h"

namespace retinaface {
namespace {

/// Maps `points` pairs x, y of each slot of one image.
void unletterbox_slots(const float *in, float *out, int used, int slots, int points,
                       const UnletterboxPlacement &placement) {
    for (int64_t i = 0; i < static_cast<int64_t>(slots) * points; ++i) {
        bool in_use = i < static_cast<int64_t>(used) * points;
        out[2 * i] = in_use ? unletterbox(in[2 * i], placement.pad_x, placement.factor_x) : 0.0f;
        out[2 * i + 1] = in_use ? unletterbox(in[2 * i + 1], placement.pad_y, placement.factor_y) : 0.0f;
    }
}

}  // namespace

void unletterbox_cpu(const UnletterboxParams &params, const UnletterboxPlacement *placements,
                     const UnletterboxInputs &inputs, const UnletterboxOutputs &outputs) {
    for (int image = 0; image < params.batch; ++image) {
        int used = inputs.count == nullptr ? params.slots : inputs.count[image];
        int64_t first = static_cast<int64_t>(image) * params.slots;
        const UnletterboxPlacement &placement = placements[image];
        unletterbox_slots(inputs.boxes + 4 * first, outputs.boxes + 4 * first, used, params.slots, 2, placement);
        if (params.num_points > 0) {
            const int64_t begin = 2 * params.num_points * first;
            unletterbox_slots(inputs.landmarks + begin, outputs.landmarks + begin, used, params.slots,
                              params.num_points, placement);
        }
    }
}

}  // namespace retinaface
