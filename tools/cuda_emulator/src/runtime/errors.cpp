#include "runtime/errors.h"

#include <algorithm>

#include "runtime/settings.h"

namespace cuda_emulator::runtime {

std::recursive_mutex mutex;

namespace {

thread_local cudaError_t last = cudaSuccess;
cudaError_t unreported_fault = cudaSuccess;
cudaError_t sticky = cudaSuccess;

struct Description {
    cudaError_t error;
    const char *name, *text;
};

#define DESCRIBED(error, text) {error, #error, text}
const Description kDescriptions[] = {
    DESCRIBED(cudaSuccess, "no error"),
    DESCRIBED(cudaErrorInvalidValue, "invalid argument"),
    DESCRIBED(cudaErrorMemoryAllocation, "out of memory"),
    DESCRIBED(cudaErrorInitializationError, "initialization error"),
    DESCRIBED(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    DESCRIBED(cudaErrorInvalidPitchValue, "invalid pitch argument"),
    DESCRIBED(cudaErrorInvalidSymbol, "invalid device symbol"),
    DESCRIBED(cudaErrorInvalidDevicePointer, "invalid device pointer"),
    DESCRIBED(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    DESCRIBED(cudaErrorMissingConfiguration, "__global__ function call is not configured"),
    DESCRIBED(cudaErrorInvalidDeviceFunction, "invalid device function"),
    DESCRIBED(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    DESCRIBED(cudaErrorInvalidDevice, "invalid device ordinal"),
    DESCRIBED(cudaErrorInvalidKernelImage, "device kernel image is invalid"),
    DESCRIBED(cudaErrorNoKernelImageForDevice, "no kernel image is available for execution on the device"),
    DESCRIBED(cudaErrorInvalidPtx, "a PTX JIT compilation failed"),
    DESCRIBED(cudaErrorUnsupportedPtxVersion, "the provided PTX was compiled with an unsupported toolchain."),
    DESCRIBED(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    DESCRIBED(cudaErrorIllegalState, "the operation cannot be performed in the present state"),
    DESCRIBED(cudaErrorNotReady, "device not ready"),
    DESCRIBED(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    DESCRIBED(cudaErrorLaunchOutOfResources, "too many resources requested for launch"),
    DESCRIBED(cudaErrorLaunchTimeout, "the launch timed out and was terminated"),
    DESCRIBED(cudaErrorAssert, "device-side assert triggered"),
    DESCRIBED(cudaErrorHostMemoryAlreadyRegistered, "part or all of the requested memory range is already mapped"),
    DESCRIBED(cudaErrorHostMemoryNotRegistered, "pointer does not correspond to a registered memory region"),
    DESCRIBED(cudaErrorIllegalInstruction, "an illegal instruction was encountered"),
    DESCRIBED(cudaErrorMisalignedAddress, "misaligned address"),
    DESCRIBED(cudaErrorLaunchFailure, "unspecified launch failure"),
    DESCRIBED(cudaErrorCooperativeLaunchTooLarge, "too many blocks in cooperative launch"),
    DESCRIBED(cudaErrorNotPermitted, "operation not permitted"),
    DESCRIBED(cudaErrorNotSupported, "operation not supported"),
    DESCRIBED(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"),
    DESCRIBED(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture"),
    DESCRIBED(cudaErrorStreamCaptureMerge, "operation would result in a merge of separate capture sequences"),
    DESCRIBED(cudaErrorStreamCaptureUnmatched, "capture was not ended in the same stream as it began"),
    DESCRIBED(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"),
    DESCRIBED(cudaErrorStreamCaptureIsolation, "dependency created on uncaptured work in another stream"),
    DESCRIBED(cudaErrorStreamCaptureImplicit,
              "operation would make the legacy stream depend on a capturing blocking stream"),
    DESCRIBED(cudaErrorCapturedEvent, "operation not permitted on an event last recorded in a capturing stream"),
    DESCRIBED(cudaErrorStreamCaptureWrongThread,
              "attempt to terminate a thread-local capture sequence from another thread"),
    DESCRIBED(cudaErrorGraphExecUpdateFailure,
              "the graph update was not performed because it included changes which violated constraints specific to "
              "instantiated graph update"),
    DESCRIBED(cudaErrorSymbolNotFound, "named symbol not found"),
    DESCRIBED(cudaErrorPeerAccessUnsupported, "peer access is not supported between these two devices"),
    DESCRIBED(cudaErrorUnknown, "unknown error"),
};
#undef DESCRIBED

const Description &description(cudaError_t error) {
    static const Description kUnknown = {cudaErrorUnknown, "unrecognized error code", "unrecognized error code"};
    const auto found = std::find_if(std::begin(kDescriptions), std::end(kDescriptions),
                                    [&](const Description &each) { return each.error == error; });
    return found == std::end(kDescriptions) ? kUnknown : *found;
}

}  // namespace

cudaError_t fail(cudaError_t error) {
    return last = error;
}

cudaError_t fail_in_kernel(cudaError_t error) {
    unreported_fault = error;
    if (faults_are_sticky()) {
        sticky = error;
    }
    return fail(error);
}

cudaError_t sticky_error() {
    return sticky ? fail(sticky) : cudaSuccess;
}

cudaError_t synchronise() {
    if (sticky) {
        return fail(sticky);
    }
    const cudaError_t fault = unreported_fault;
    unreported_fault = cudaSuccess;
    return fault ? fail(fault) : cudaSuccess;
}

}  // namespace cuda_emulator::runtime

using namespace cuda_emulator::runtime;

cudaError_t cudaGetLastError() {
    const cudaError_t error = sticky ? sticky : last;
    last = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError() {
    return sticky ? sticky : last;
}

const char *cudaGetErrorString(cudaError_t error) {
    return description(error).text;
}

const char *cudaGetErrorName(cudaError_t error) {
    return description(error).name;
}
