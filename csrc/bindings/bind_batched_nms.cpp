#include "bindings/arguments/arguments.h"
#include "bindings/arrays/array.h"
#include "bindings/arrays/results.h"
#include "bindings/arrays/unlocked.h"
#include "bindings/operators.h"
#include "ops/batched_nms.h"
#ifdef RETINAFACE_HAS_CUDA
#include "bindings/arrays/launch.h"
#endif

namespace retinaface::bindings {
namespace {

constexpr int kBoxAlignment = 16;  // of batched_nms_cuda, bytes

py::tuple nms(const py::object &boxes, const py::object &scores, const py::object &landmarks, const py::object &count,
              const py::object &iou_threshold, const py::object &max_detections, const py::object &voting,
              const py::object &stream) {
    Place place = place_of(boxes, "boxes", stream);
    Array box_array = view(boxes, "boxes", place);
    box_array.expect_dims(3, "[N, K, 4]");
    BatchedNmsParams params;
    params.batch = box_array.int_extent(0);
    params.num_candidates = box_array.int_extent(1);
    params.max_detections = int_of(max_detections, Name("max_detections"));
    params.iou_threshold = float_of(iou_threshold, Name("iou_threshold"));
    params.voting = bool_of(voting, Name("voting"));
    params.has_landmarks = !landmarks.is_none();
    validate_batched_nms(params);

    int64_t n = params.batch, k = params.num_candidates, m = params.max_detections;
    box_array.expect(ElementType::kFloat32, {n, k, 4});
    if (!place.on_host()) {
        box_array.expect_alignment(kBoxAlignment);
    }
    Array score_array = view(scores, "scores", place);
    score_array.expect(ElementType::kFloat32, {n, k});
    Array count_array = view(count, "count", place);
    count_array.expect(ElementType::kInt32, {n});
    BatchedNmsInputs inputs{box_array.floats(), score_array.floats(), nullptr, count_array.ints()};
    Array landmark_array;
    if (params.has_landmarks) {
        landmark_array = view(landmarks, "landmarks", place);
        landmark_array.expect(ElementType::kFloat32, {n, k, kLandmarkValues});
        inputs.landmarks = landmark_array.floats();
    }

    Results results(place);
    BatchedNmsOutputs outputs;
    outputs.num_detections = results.ints({n});
    outputs.boxes = results.floats({n, m, 4});
    outputs.scores = results.floats({n, m});
    if (params.has_landmarks) {
        outputs.landmarks = results.floats({n, m, kLandmarkValues});
    } else {
        results.add_none();
    }
    outputs.indices = results.ints({n, m});

    if (place.on_host()) {
        Unlocked unlocked;
        batched_nms_cpu(params, inputs, outputs);
    }
#ifdef RETINAFACE_HAS_CUDA
    if (!place.on_host()) {
        launch("nms", place, batched_nms_workspace_bytes(params),
               [&](void *workspace, size_t bytes, cudaStream_t cuda_stream) {
                   return batched_nms_cuda(params, inputs, outputs, workspace, bytes, cuda_stream);
               });
    }
#endif
    return results.take();
}

}  // namespace

void bind_batched_nms(py::module_ &module) {
    module.def("nms", &nms, py::arg("boxes"), py::arg("scores"), py::arg("landmarks"), py::arg("count"), py::kw_only(),
               py::arg("iou_threshold"), py::arg("max_detections"), py::arg("voting") = false,
               py::arg("stream") = py::none());
}

}  // namespace retinaface::bindings
