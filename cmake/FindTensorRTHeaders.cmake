# Finds TensorRT's C++ headers: the only part of TensorRT that building the plugins needs.
#
# Looked for in TENSORRT_ROOT (a variable or an environment variable; the tar package's folder), in the
# system's include folders (the Debian package) and in the Python package kernel-lens, which carries a
# copy of the headers for machines that have neither.
set(_hints ${TENSORRT_ROOT} $ENV{TENSORRT_ROOT})
execute_process(
  COMMAND ${Python_EXECUTABLE} -c
    "import importlib.util as u; s = u.find_spec('kernel_lens'); print(s.submodule_search_locations[0] if s else '')"
  OUTPUT_VARIABLE _kernel_lens OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)

find_path(TensorRTHeaders_INCLUDE_DIR NvInferRuntime.h
  HINTS ${_hints} PATH_SUFFIXES include
  PATHS ${_kernel_lens}/include/tensorrt)
mark_as_advanced(TensorRTHeaders_INCLUDE_DIR)

if(TensorRTHeaders_INCLUDE_DIR)
  file(READ ${TensorRTHeaders_INCLUDE_DIR}/NvInferVersion.h _version_h)
  foreach(part MAJOR MINOR PATCH)
    # 10.x defines NV_TENSORRT_MAJOR as a number, 11.x through TRT_MAJOR_ENTERPRISE.
    if(_version_h MATCHES "#define NV_TENSORRT_${part} ([0-9]+)"
        OR _version_h MATCHES "#define TRT_${part}_ENTERPRISE ([0-9]+)")
      list(APPEND _version ${CMAKE_MATCH_1})
    endif()
  endforeach()
  list(JOIN _version "." TensorRTHeaders_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TensorRTHeaders
  REQUIRED_VARS TensorRTHeaders_INCLUDE_DIR VERSION_VAR TensorRTHeaders_VERSION)

if(TensorRTHeaders_FOUND AND NOT TARGET TensorRTHeaders::TensorRTHeaders)
  add_library(TensorRTHeaders::TensorRTHeaders INTERFACE IMPORTED)
  # SYSTEM: warnings in NVIDIA's headers are not ours to mend.
  target_include_directories(TensorRTHeaders::TensorRTHeaders SYSTEM INTERFACE ${TensorRTHeaders_INCLUDE_DIR})
endif()
