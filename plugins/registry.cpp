#include "registry.h"

#include <iterator>

#include "base/logging.h"

#define RF_EXPORT extern "C" __attribute__((visibility("default")))

// The two functions that TensorRT looks up in a plugin library (IPluginRegistry::loadLibrary); nothing else is
// exported.
RF_EXPORT void setLoggerFinder(const nvinfer1::ILoggerFinder *finder) {
    retinaface::set_logger_finder(finder);
}

RF_EXPORT nvinfer1::IPluginCreatorInterface *const *getCreators(int32_t &count) {
    static nvinfer1::IPluginCreatorInterface *const creators[] = {
        retinaface::anchor_decode_creator(), retinaface::anchor_decode_2_creator(),
        retinaface::batched_nms_creator(),   retinaface::batched_nms_2_creator(),
        retinaface::deform_conv_creator(),   retinaface::standard_deform_conv_creator()};
    count = static_cast<int32_t>(std::size(creators));
    return creators;
}
