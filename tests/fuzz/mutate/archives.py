"""Changes of zip archives, whose checksums stay right: of their members and of their order."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable
from random import Random

from tests.fuzz.mutate.content import edge, mutated

Members = list[tuple[str, bytes]]
_NAMES = (
    "", "/", "../x", "archive/data.pkl", "archive/data/0", "archive/byteorder", "archive/version", "a" * 3000,
    "\x1b[31m", "key.npy", "x.npy", "data.pkl", "archive/.data/serialization_id"
)  # fmt: skip


def members_of(content: bytes) -> Members:
    """Return the names and the contents of an archive's members."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def archive_of(members: Members, method: int = zipfile.ZIP_STORED) -> bytes:
    """Return an archive; names may occur twice."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", method) as archive:
        warnings.simplefilter("ignore")
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return stream.getvalue()


def mutated_archive(
    members: Members, random: Random, change: Callable[[str, bytes, Random], bytes] = lambda n, c, r: mutated(c, r)
) -> bytes:
    """Return an archive with a few changes.

    Args:
        members: of the archive.
        random: decides.
        change: returns the changed content of a member, from its name and its content.
    """
    members = list(members)
    at = random.randrange(len(members))
    name, content = members[at]
    kind = random.randrange(20)
    if kind == 0:
        del members[at]
    elif kind == 1:
        members[at] = (random.choice(_NAMES), content)
    elif kind == 2:
        members.append((random.choice((name, *_NAMES)), random.choice(members)[1]))
    elif kind == 3:
        other = random.randrange(len(members))
        members[at], members[other] = (name, members[other][1]), (members[other][0], content)
    elif kind == 4:
        members[at] = (name, content * random.choice((0, 2, 50)))
    else:
        members[at] = (name, change(name, content, random))
    packed = archive_of(members, random.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    kind = random.randrange(12)
    if kind == 0:
        return mutated(packed, random)
    if kind == 1:
        return _claiming(packed, random)
    return packed


def _claiming(packed: bytes, random: Random) -> bytes:
    """Change one number of the directory: sizes, offsets, methods, lengths of names."""
    directory = packed.index(b"PK\x01\x02") if b"PK\x01\x02" in packed else 0
    at = random.randrange(directory, max(directory + 1, len(packed) - 4))
    size = random.choice((2, 4))
    return packed[:at] + edge(random, 8 * size).to_bytes(size, "little") + packed[at + size :]
