#include "ops/batched_nms.h"

#include "common/check.h"

namespace retinaface {

void validate_batched_nms(const BatchedNmsParams &params) {
    require(params.batch >= 0, "batch is ", params.batch, ", expected at least 0");
    require(1 <= params.num_candidates && params.num_candidates <= kMaxNmsCandidates, "number of candidates is ",
            params.num_candidates, ", expected 1 to ", kMaxNmsCandidates);
    require(1 <= params.max_detections && params.max_detections <= kMaxNmsCandidates, "max_detections is ",
            params.max_detections, ", expected 1 to ", kMaxNmsCandidates);
    // NaN fails these comparisons.
    require(params.iou_threshold >= 0.0f && params.iou_threshold <= 1.0f, "iou_threshold is ", params.iou_threshold,
            ", expected 0 to 1");
    require(0 <= params.payload_size && params.payload_size <= kMaxNmsPayload, "payload of a candidate is ",
            params.payload_size, " values, expected 0 to ", kMaxNmsPayload);
    require(params.has_classes || !params.class_agnostic,
            "class_agnostic is set, but there are no classes: without them all candidates are of one class");
}

}  // namespace retinaface
