# Fetches TensorRT's headers on machines without TensorRT. The Python package kernel-lens contains those of 10.14
# (Apache-2.0). pip downloads that one file, its SHA-256 is checked, and none of its code is executed. The package cannot
# be a build requirement, because it requires PyTorch.
set(_version 2.0.1)
set(_file kernel_lens-${_version}-py3-none-any.whl)
set(_sha256 07cc714e8b5e7f34b672f7c7fad93febe7c747be5837ba276b1527370134ffe0)
set(_without "Set TENSORRT_ROOT to the folder of an unpacked TensorRT (10 or 11), which holds include/NvInferRuntime.h; \
or build without CUDA kernels and plugins: -DRETINAFACE_PLUGINS=OFF for CMake, \
-Ccmake.define.RETINAFACE_PLUGINS=OFF for pip (before pip 23.1: SKBUILD_CMAKE_DEFINE=RETINAFACE_PLUGINS=OFF in the \
environment).")

# Puts the headers into a folder of the build, unless it exists, and sets `result` to its path. A folder of that name is
# always complete, because it is renamed into place at the end.
function(rf_fetch_tensorrt_headers result)
  set(_headers ${CMAKE_BINARY_DIR}/tensorrt-headers-${_version})
  set(${result} ${_headers} PARENT_SCOPE)
  if(EXISTS ${_headers})
    return()
  endif()
  set(_part ${_headers}.part)
  file(REMOVE_RECURSE ${_part})
  message(STATUS "Fetching TensorRT's headers (kernel-lens ${_version})")
  execute_process(
    COMMAND ${Python_EXECUTABLE} -m pip --disable-pip-version-check download --quiet --no-deps --only-binary :all:
      --dest ${_part} kernel-lens==${_version}
    RESULT_VARIABLE _failed OUTPUT_VARIABLE _output ERROR_VARIABLE _output)
  if(_failed OR NOT EXISTS ${_part}/${_file})
    message(FATAL_ERROR "pip could not download TensorRT's headers (the package kernel-lens ${_version}):\n${_output}\n${_without}")
  endif()
  file(SHA256 ${_part}/${_file} _digest)
  if(NOT _digest STREQUAL _sha256)
    file(REMOVE_RECURSE ${_part})
    message(FATAL_ERROR "${_file} with TensorRT's headers is not the published file: its SHA-256 is ${_digest}, "
      "expected ${_sha256}. It was deleted. Check the package index that pip uses. ${_without}")
  endif()
  file(ARCHIVE_EXTRACT INPUT ${_part}/${_file} DESTINATION ${_part} PATTERNS kernel_lens/include/tensorrt/*)
  file(RENAME ${_part}/kernel_lens/include/tensorrt ${_headers})
  file(REMOVE_RECURSE ${_part})
endfunction()
