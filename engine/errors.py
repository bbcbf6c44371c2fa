"""The exceptions of this package.

RetinaFaceError
├── InvalidArgumentError   (also ValueError)   an argument, option or setting is out of range
│   └── FaceIndexError     (also IndexError)   an image has no face of that number
├── WeightsError                               a checkpoint is missing, damaged or of another model
│   └── MisfitError                            its tensors are not those of the model
├── BuildError                                 an engine could not be built or written
│   └── CalibrationError                       the images, the network or the cache of a calibration are unusable
├── EngineLoadError                            an engine, or a file beside it, is damaged or does not fit
├── DeviceError                                the device asked for is not usable
├── InferenceError                             a loaded engine failed while running
│   ├── ClosedError                            the detector or the queue is closed
│   ├── QueueFullError                         too many images wait in the queue
│   ├── DeviceMemoryError  (also MemoryError)  the device has no memory left; the detector stays usable
│   └── DeviceLostError                        the device is unusable until the process ends
├── StreamError                                a video, a camera or an address cannot be read, or broke
├── EvaluationError                            labels, predictions or ground truth cannot be evaluated
├── TrainingError                              a training run cannot begin, go on or be resumed
├── OutputError            (also OSError)      a file could not be written; has `filename` and `strerror`
├── CudaError                                  a CUDA call failed; has `name` and `code`
└── NativeModuleError      (also ImportError)  the compiled module is missing or damaged
"""

from __future__ import annotations

from engine.text import printable


class RetinaFaceError(Exception):
    """Base of every exception that this package raises on purpose. Its message is one printable line."""

    def __init__(self, message: str = "") -> None:
        """Make the message safe to print: it may contain names and text from outside."""
        super().__init__(printable(message))


class InvalidArgumentError(RetinaFaceError, ValueError):
    """An argument, option or setting is out of range."""


class FaceIndexError(InvalidArgumentError, IndexError):
    """An image has fewer faces than the index asks for."""


class WeightsError(RetinaFaceError):
    """A checkpoint is missing, damaged or made for another model."""


class MisfitError(WeightsError):
    """A checkpoint's tensors have other names or shapes than the model's."""


class BuildError(RetinaFaceError):
    """An engine could not be built or written."""


class CalibrationError(BuildError):
    """The images, the network or the cache of a calibration are unusable."""


class EngineLoadError(RetinaFaceError):
    """An engine, or one of the files beside it, cannot be used."""


class DeviceError(RetinaFaceError):
    """The device that was asked for is not usable here."""


class InferenceError(RetinaFaceError):
    """A loaded engine failed while it ran."""


class ClosedError(InferenceError):
    """A detector or a queue was used after close()."""


class QueueFullError(InferenceError):
    """As many images wait in a queue as it may hold. Submit again later."""


class DeviceMemoryError(InferenceError, MemoryError):
    """A device has no memory left for a run. The detector stays usable."""


class DeviceLostError(InferenceError):
    """A device failed, and every later CUDA call of this process fails too. Start a new process."""


class StreamError(RetinaFaceError):
    """A video, a camera or an address cannot be read, or broke. The message says after which frame."""


class EvaluationError(RetinaFaceError):
    """Labels, predictions or ground truth are missing, malformed or do not fit each other."""


class TrainingError(RetinaFaceError):
    """A training run cannot begin, go on or be resumed: the loss is not finite, or a checkpoint is damaged."""


class OutputError(RetinaFaceError, OSError):
    """A file could not be written. What it held before is unchanged.

    Attributes:
        filename: path of the file, or of its folder if the folder is the reason.
        strerror: the reason in words.
        errno: its number.
    """

    def __init__(self, message: str, filename: str = "", strerror: str = "", errno: int = 0) -> None:
        """Keep the file and the reason beside the message."""
        super().__init__(message)
        self.filename, self.strerror, self.errno = filename, strerror, errno

    @classmethod
    def at(cls, path: object, cause: OSError, reason: str = "") -> OutputError:
        """Return the error for a file; the reason is the cause's unless given."""
        reason = reason or cause.strerror or str(cause)
        return cls(f"cannot write {path}: {reason}", str(path), reason, cause.errno or 0)

    def __str__(self) -> str:
        """Return the message; that of an OSError would begin with the number."""
        return str(self.args[0])


class CudaError(RetinaFaceError):
    """A CUDA call failed.

    Attributes:
        name: CUDA's name of the status, for example "cudaErrorMemoryAllocation".
        code: its number.
    """

    def __init__(self, message: str, name: str = "", code: int = 0) -> None:
        """Keep the name and the number of the status beside the message."""
        super().__init__(message)
        self.name = name
        self.code = code


class NativeModuleError(RetinaFaceError, ImportError):
    """The compiled module engine._native is missing or cannot be loaded."""
