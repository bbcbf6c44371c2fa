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

py::tuple nms(const py::object &boxes, const py::object &scores, const py::object &payload, const py::object &count,
              const py::object &classes, const py::object &iou_threshold, const py::object &max_detections,
              const py::object &voting, const py::object &class_agnostic, const py::object &stream) {
    Place place = place_of(boxes, "boxes", stream);
    Array box_array = view(boxes, "boxes", place);
    box_array.expect_dims(3, "[N, K, 4]");
    BatchedNmsParams params;
    params.batch = box_array.int_extent(0);
    params.num_candidates = box_array.int_extent(1);
    params.max_detections = int_of(max_detections, Name("max_detections"));
    params.iou_threshold = float_of(iou_threshold, Name("iou_threshold"));
    params.voting = bool_of(voting, Name("voting"));
    params.has_classes = !classes.is_none();
    params.class_agnostic = bool_of(class_agnostic, Name("class_agnostic"));
    const Array score_array = view(scores, "scores", place);
    Array payload_array;
    if (!payload.is_none()) {
        payload_array = view(payload, "payload", place);
        payload_array.expect_dims(3, "[N, K, P]");
        params.payload_size = payload_array.int_extent(2);
        require(params.payload_size > 0, "payload has ", to_string(payload_array.shape),
                " elements, expected None or at least one value of each candidate");
    }
    validate_batched_nms(params);

    int64_t n = params.batch, k = params.num_candidates, m = params.max_detections, p = params.payload_size;
    box_array.expect(ElementType::kFloat32, {n, k, 4});
    if (!place.on_host()) {
        box_array.expect_alignment(kBoxAlignment);
    }
    score_array.expect(ElementType::kFloat32, {n, k});
    Array count_array = view(count, "count", place);
    count_array.expect(ElementType::kInt32, {n});
    BatchedNmsInputs inputs{box_array.floats(), score_array.floats(), nullptr, count_array.ints(), nullptr};
    if (p > 0) {
        payload_array.expect(ElementType::kFloat32, {n, k, p});
        inputs.payload = payload_array.floats();
    }
    Array class_array;
    if (params.has_classes) {
        class_array = view(classes, "classes", place);
        class_array.expect(ElementType::kInt32, {n, k});
        inputs.classes = class_array.ints();
    }

    Results results(place);
    BatchedNmsOutputs outputs;
    outputs.num_detections = results.ints({n});
    outputs.boxes = results.floats({n, m, 4});
    outputs.scores = results.floats({n, m});
    if (p > 0) {
        outputs.payload = results.floats({n, m, p});
    } else {
        results.add_none();
    }
    outputs.indices = results.ints({n, m});
    if (params.has_classes) {
        outputs.classes = results.ints({n, m});
    } else {
        results.add_none();
    }

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
    module.def("nms", &nms, py::arg("boxes"), py::arg("scores"), py::arg("payload"), py::arg("count"),
               py::arg("classes") = py::none(), py::kw_only(), py::arg("iou_threshold"), py::arg("max_detections"),
               py::arg("voting") = false, py::arg("class_agnostic") = false, py::arg("stream") = py::none());
}

}  // namespace retinaface::bindings
