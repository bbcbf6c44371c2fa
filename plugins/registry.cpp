#include <iterator>

#include "anchor_decode_plugin.h"
#include "batched_nms_plugin.h"
#include "deform_conv_plugin.h"

#define RF_EXPORT extern "C" __attribute__((visibility("default")))

/// What TensorRT looks up in a plugin library (IPluginRegistry::loadLibrary), and all this one exports.
RF_EXPORT void setLoggerFinder(const nvinfer1::ILoggerFinder *finder) {
    retinaface::set_logger_finder(finder);
}

RF_EXPORT nvinfer1::IPluginCreatorInterface *const *getCreators(int32_t &count) {
    static retinaface::PluginCreator<retinaface::AnchorDecodePlugin> anchor_decode;
    static retinaface::PluginCreator<retinaface::BatchedNmsPlugin> batched_nms;
    static retinaface::PluginCreator<retinaface::DeformConvPlugin> deform_conv;
    static nvinfer1::IPluginCreatorInterface *const creators[] = {&anchor_decode, &batched_nms, &deform_conv};
    count = static_cast<int32_t>(std::size(creators));
    return creators;
}
