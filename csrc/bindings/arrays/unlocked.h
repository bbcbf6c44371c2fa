#pragma once

#include <cxxabi.h>
#include <pybind11/pybind11.h>
#include <unistd.h>

namespace retinaface::bindings {

/// Releases the GIL in a scope. A daemon thread whose scope ends while the interpreter does stops here for ever: Python
/// before 3.14 ends such a thread by unwinding its stack, which aborts the process where it meets a destructor, and
/// other destructors would free objects of Python without the GIL.
class Unlocked {
  public:
    Unlocked() : state_(PyEval_SaveThread()) {}
    ~Unlocked() {
        try {
            PyEval_RestoreThread(state_);
        } catch (abi::__forced_unwind &) {
            for (;;) {
                pause();
            }
        }
    }
    Unlocked(const Unlocked &) = delete;
    Unlocked &operator=(const Unlocked &) = delete;

  private:
    PyThreadState *state_;
};

}  // namespace retinaface::bindings
