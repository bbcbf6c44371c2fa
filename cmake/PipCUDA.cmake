# Finds the CUDA compiler in pip's packages (nvidia-cuda-nvcc, -crt, -runtime, -cccl and nvidia-nvvm), for machines
# without nvcc of CUDA 13 on PATH. Sets CUDACXX for enable_language(CUDA) if it finds one.
#
# nvcc and FindCUDAToolkit need a folder lib64 and a libcudart.so without a version, which the packages do not have. So
# this makes a toolkit of links in the build folder; site-packages is not changed. nvcc finds its parts relative to the
# path by which it is called, so each file of bin is linked, not the folder.
function(rf_use_cuda_from_pip)
  set(_toolkit ${CMAKE_BINARY_DIR}/cuda-toolkit)
  if(NOT CMAKE_CUDA_COMPILER STREQUAL ${_toolkit}/bin/nvcc)
    if(CMAKE_CUDA_COMPILER OR NOT "$ENV{CUDACXX}" STREQUAL "")
      return()
    endif()
    find_program(_nvcc nvcc NO_CACHE NO_DEFAULT_PATH PATHS ENV PATH)
    if(_nvcc)
      execute_process(COMMAND ${_nvcc} --version OUTPUT_VARIABLE _version)
      if(_version MATCHES "release 13")
        return()
      endif()
    endif()
  endif()
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c
      "import importlib.util as u, pathlib as p; s = u.find_spec('nvidia'); print(next((f for f in map(str, (p.Path(d, 'cu13') for d in s.submodule_search_locations)) if p.Path(f, 'bin/nvcc').is_file()), '') if s else '')"
    OUTPUT_VARIABLE _packages OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT _packages)
    unset(CMAKE_CUDA_COMPILER CACHE) # the packages were removed
    return()
  endif()
  # Made again each time: in every isolated build the packages are in another folder.
  file(REMOVE_RECURSE ${_toolkit})
  file(MAKE_DIRECTORY ${_toolkit}/bin ${_toolkit}/lib64)
  foreach(_folder bin lib)
    file(GLOB _files ${_packages}/${_folder}/*)
    string(REPLACE lib lib64 _target ${_folder})
    foreach(_file ${_files})
      get_filename_component(_name ${_file} NAME)
      file(CREATE_LINK ${_file} ${_toolkit}/${_target}/${_name} SYMBOLIC)
    endforeach()
  endforeach()
  file(CREATE_LINK ${_packages}/lib/libcudart.so.13 ${_toolkit}/lib64/libcudart.so SYMBOLIC)
  foreach(_folder include nvvm)
    file(CREATE_LINK ${_packages}/${_folder} ${_toolkit}/${_folder} SYMBOLIC)
  endforeach()
  set(ENV{CUDACXX} ${_toolkit}/bin/nvcc)
endfunction()
