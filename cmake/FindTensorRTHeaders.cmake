# Finds TensorRT's C++ headers, the only part of TensorRT that the plugins need at build time. Looks in TENSORRT_ROOT, a
# CMake or environment variable (the folder of the tar package; /usr for Debian's packages), else fetches a copy.
if(NOT TENSORRT_ROOT AND DEFINED ENV{TENSORRT_ROOT})
  set(TENSORRT_ROOT $ENV{TENSORRT_ROOT})
endif()
if(TENSORRT_ROOT)
  unset(TensorRTHeaders_INCLUDE_DIR CACHE)
  find_path(TensorRTHeaders_INCLUDE_DIR NvInferRuntime.h
    PATHS ${TENSORRT_ROOT} PATH_SUFFIXES include include/${CMAKE_LIBRARY_ARCHITECTURE} NO_DEFAULT_PATH)
  if(NOT TensorRTHeaders_INCLUDE_DIR)
    message(FATAL_ERROR "TENSORRT_ROOT is ${TENSORRT_ROOT}, but no include/NvInferRuntime.h lies in it. "
      "Name the folder of an unpacked TensorRT, or unset it to have the headers fetched.")
  endif()
else()
  include(FetchTensorRTHeaders)
  rf_fetch_tensorrt_headers(TensorRTHeaders_INCLUDE_DIR)
endif()

file(READ ${TensorRTHeaders_INCLUDE_DIR}/NvInferVersion.h _version_h)
foreach(part MAJOR MINOR PATCH)
  # 10.x defines NV_TENSORRT_MAJOR as a number, 11.x through TRT_MAJOR_ENTERPRISE.
  if(_version_h MATCHES "#define NV_TENSORRT_${part} ([0-9]+)"
      OR _version_h MATCHES "#define TRT_${part}_ENTERPRISE ([0-9]+)")
    list(APPEND _numbers ${CMAKE_MATCH_1})
  endif()
endforeach()
list(JOIN _numbers "." TensorRTHeaders_VERSION)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TensorRTHeaders
  REQUIRED_VARS TensorRTHeaders_INCLUDE_DIR VERSION_VAR TensorRTHeaders_VERSION)

if(NOT TARGET TensorRTHeaders::TensorRTHeaders)
  add_library(TensorRTHeaders::TensorRTHeaders INTERFACE IMPORTED)
  # SYSTEM: warnings in NVIDIA's headers are not ours to mend.
  target_include_directories(TensorRTHeaders::TensorRTHeaders SYSTEM INTERFACE ${TensorRTHeaders_INCLUDE_DIR})
endif()
