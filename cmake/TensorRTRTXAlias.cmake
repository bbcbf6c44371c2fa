# TensorRT-RTX's ONNX parser opens "libtensorrt_rtx.so" at its first plugin node, but the Python wheels contain
# only "libtensorrt_rtx.so.1", and the process would abort. The loader finds libraries that are already loaded
# by their soname. So this empty library has the missing name and links to the existing one: once it is loaded,
# the parser's dlopen and dlsym reach the real library. site-packages is not changed.
set(_empty ${CMAKE_CURRENT_BINARY_DIR}/empty.c.cpp)
file(WRITE ${_empty} "")
add_library(rf_rtx_soname SHARED ${_empty})
set_target_properties(rf_rtx_soname PROPERTIES
  OUTPUT_NAME tensorrt_rtx VERSION 1 SOVERSION 1
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/rtx_soname)
add_library(rf_rtx_alias SHARED ${_empty})
set_target_properties(rf_rtx_alias PROPERTIES
  OUTPUT_NAME tensorrt_rtx LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/rtx_alias
  SKIP_BUILD_RPATH ON)
target_link_libraries(rf_rtx_alias PRIVATE rf_rtx_soname)
target_link_options(rf_rtx_alias PRIVATE -Wl,--no-as-needed)
install(TARGETS rf_rtx_alias LIBRARY DESTINATION engine/rtx_alias)
