"""What a checkpoint may take before PyTorch reads it: unpacked bytes, and functions that it may ask PyTorch to call."""

from __future__ import annotations

import io
import zipfile

from engine.errors import InvalidArgumentError
from engine.untrusted.archives import unpacked
from engine.untrusted.limits import MAX_CHECKPOINT_BYTES, MAX_PICKLE_BYTES, MIB

_ZIP_START = b"PK"  # PyTorch's files since 1.6
_PICKLE = "data.pkl"
# torch.load calls these even with weights_only=True. They fill memory that no size in the file bounds, and no
# state_dict needs them: a length makes bytes, one value that is repeated makes a whole tensor.
_FILLING = (b"bytearray", b"_rebuild_device_tensor_from_numpy", b"_rebuild_device_tensor_from_cpu_tensor")


def bounded(content: bytes) -> io.BytesIO:
    """Return a checkpoint as PyTorch may read it.

    Raises:
        InvalidArgumentError: it unpacks to too much, or asks for functions that fill the memory; the message does not
            contain its name.
    """
    if not content.startswith(_ZIP_START):
        _refuse_filling(content)
        return io.BytesIO(content)
    archive = unpacked(content, MAX_CHECKPOINT_BYTES)
    with zipfile.ZipFile(archive) as members:
        for member in members.infolist():
            if member.filename.endswith(_PICKLE):
                if member.file_size > MAX_PICKLE_BYTES:
                    raise InvalidArgumentError(
                        f"has {member.file_size // MIB} MiB of names beside its tensors, expected at most "
                        f"{MAX_PICKLE_BYTES // MIB} MiB"
                    )
                _refuse_filling(members.read(member))
    archive.seek(0)
    return archive


def _refuse_filling(pickled: bytes) -> None:
    # A pickle for PyTorch names a function as lines of text.
    called = [name.decode() for name in _FILLING if b"\n" + name + b"\n" in pickled]
    if called:
        raise InvalidArgumentError(f"asks for {called[0]}, which no state_dict needs")
