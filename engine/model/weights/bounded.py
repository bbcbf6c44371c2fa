"""What a checkpoint may take before PyTorch reads it: unpacked bytes, and functions that it may ask PyTorch to call."""

from __future__ import annotations

import io
import pickletools
import re
import zipfile

from engine.errors import InvalidArgumentError
from engine.untrusted.archives import unpacked
from engine.untrusted.limits import MAX_CHECKPOINT_BYTES, MAX_PICKLE_BYTES, MIB

_ZIP_START = b"PK"  # PyTorch's files since 1.6
_PICKLE = "data.pkl"
_OLD_PICKLES = 5  # magic number, version, machine, content, keys of the tensors
# A pickle for PyTorch names a function as two lines of text, its module and its name.
_NAMED = re.compile(rb"c([\w.]+)\n([\w.]+)\n")
# What a state_dict needs. torch.load would call more, even with weights_only=True, and some of it fills memory that no
# size in the file bounds: a length makes bytes, one value that is repeated makes a whole tensor.
_NEEDED = re.compile(
    rb"collections\.OrderedDict|torch\._utils\._rebuild_(tensor(_v[23])?|parameter(_with_state)?)"
    # These make tensors that are refused by their names.
    rb"|torch\._utils\._rebuild_(nested_tensor|sparse_tensor|qtensor|meta_tensor_no_storage)"
    rb"|torch\.serialization\._get_layout|torch\._tensor\._rebuild_from_type_v2|torch\.nn\.parameter\.Parameter"
    rb"|torch\.(storage\.|cuda\.)?\w+Storage|torch\.(q?u?int|b?float|complex)\d\w*|torch\.(bool|Size|device|per_\w+)"
)


def bounded(content: bytes) -> io.BytesIO:
    """Return a checkpoint as PyTorch may read it.

    Raises:
        InvalidArgumentError: it unpacks to too much, or asks for functions that no state_dict needs; the message does
            not contain its name.
    """
    if not content.startswith(_ZIP_START):
        _refuse_unneeded(content[: _end_of_pickles(content)])
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
                _refuse_unneeded(members.read(member))
    archive.seek(0)
    return archive


def _end_of_pickles(content: bytes) -> int:
    """Return where the pickles of a file of the old form end: behind the fifth the values of the tensors follow."""
    stream = io.BytesIO(content)
    try:
        for _ in range(_OLD_PICKLES):
            for _ in pickletools.genops(stream):
                if stream.tell() > MAX_PICKLE_BYTES:
                    raise InvalidArgumentError(
                        f"has more than {MAX_PICKLE_BYTES // MIB} MiB of names beside its tensors, or is damaged"
                    )
    except (ValueError, OverflowError, MemoryError) as error:
        _refuse_unneeded(content[: stream.tell()])
        raise InvalidArgumentError(f"is damaged: {error}") from error
    return stream.tell()


def _refuse_unneeded(pickled: bytes) -> None:
    for module, name in _NAMED.findall(pickled):
        if not _NEEDED.fullmatch(module + b"." + name):
            named = f"{module.decode(errors='replace')}.{name.decode(errors='replace')}"
            raise InvalidArgumentError(f"asks for {named}, which no state_dict needs")
