#pragma once

#include "NvInferRuntime.h"

namespace retinaface {

nvinfer1::IPluginCreatorInterface *anchor_decode_creator();
nvinfer1::IPluginCreatorInterface *anchor_decode_2_creator();
nvinfer1::IPluginCreatorInterface *batched_nms_creator();
nvinfer1::IPluginCreatorInterface *batched_nms_2_creator();
nvinfer1::IPluginCreatorInterface *deform_conv_creator();
nvinfer1::IPluginCreatorInterface *standard_deform_conv_creator();

}  // namespace retinaface
