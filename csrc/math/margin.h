#pragma once

#include <cmath>
#include <cstdint>

#include "common/host_device.h"
#include "math/decode.h"
#include "math/exp.h"
#include "math/log.h"

namespace retinaface {

/// What one pass over the logits of a softmax keeps: the best class, and the highest of the others. `rest` begins as
/// the background, the classes are added one by one; NaN counts as nothing. No class has a margin above best - rest.
struct BestLogit {
    float best = -INFINITY;
    float rest = -INFINITY;

    RF_HOST_DEVICE void add(float logit) {
        const float lower = logit > best ? best : logit;
        best = logit > best ? logit : best;
        rest = lower > rest ? lower : rest;
    }
};

/// The margin of class `c` in a softmax over `num_classes` logits: the logit of its probability,
/// log(p / (1 - p)) = l_c - log(sum over j != c of exp(l_j)). Not finite if a logit is NaN. Where the margin is not
/// above the threshold, the result is not above it either, but may be another value, which is cheaper.
///
/// logits(j) is the logit of class j. With two classes the result is logits(1) - logits(0) to the last bit. The sum is
/// of integers, so that it does not depend on the order of the classes: equal logits have equal margins.
#ifdef __CUDACC__
#pragma nv_exec_check_disable  // logits may be a function of the device alone
#endif
template <typename Logits>
RF_HOST_DEVICE float softmax_margin(const Logits &logits, int num_classes, int c, float threshold) {
    constexpr float kUnits = 4294967296.0f;  // the sum is in units of 2^-32
    const float own = logits(c);
    float rival = -INFINITY;
    for (int j = 0; j < num_classes; ++j) {
        const float other = logits(j);
        rival = j != c && other > rival ? other : rival;
    }
    const float bound = own - rival;
    if (!(bound > threshold) || !is_finite(bound)) {
        return bound;
    }
    int64_t sum = 0;
    for (int j = 0; j < num_classes; ++j) {
        if (j != c) {
            const float ratio = exact_exp(logits(j) - rival);  // at most 1, and 1 for the rival
            if (ratio != ratio) {
                return ratio;
            }
            sum += static_cast<int64_t>(ratio * kUnits);
        }
    }
    return bound - exact_log(static_cast<float>(sum) * (1.0f / kUnits));
}

}  // namespace retinaface
