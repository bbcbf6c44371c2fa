"""`python -m engine.triton.start REPOSITORY [OPTION ...]`: becomes tritonserver, with what a repository needs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.backend.driver import sees_gpu
from engine.errors import RetinaFaceError
from engine.files import cache_folder
from engine.protocol.tensors import MODEL_NAME
from engine.triton.configs import PLAN
from engine.triton.repository import LIBRARY
from engine.writing import check_writable, write_folder

_CONTAINERS = Path("/opt/tritonserver/bin/tritonserver")  # where NVIDIA's containers have it
_STUB = "triton_python_backend_stub"


@dataclass(frozen=True)
class Server:
    """An installed server.

    Attributes:
        path: of the program.
        backends: folder of its backends.
        libraries: folders that it needs in LD_LIBRARY_PATH.
    """

    path: Path
    backends: Path
    libraries: tuple[Path, ...] = ()

    def command(self, repository: Path, given: Sequence[str]) -> list[str]:
        """Return the command line, of which the caller has given a part.

        Like the project's own service, the server listens on this machine only unless it is told an address. Without a
        GPU, or without the TensorRT backend, it loads only the model that needs neither.
        """
        command = [str(self.path), f"--model-repository={repository}", f"--backend-directory={self.backends}"]
        library = repository / LIBRARY
        if library.exists() and sees_gpu() and (self.backends / "tensorrt").exists():
            command.append(f"--backend-config=tensorrt,plugins={library}")
        elif library.exists():
            print(f"{PLAN} needs a GPU and Triton's TensorRT backend: only {MODEL_NAME} is served", file=sys.stderr)
            command += ["--model-control-mode=explicit", f"--load-model={MODEL_NAME}"]
        for option in ("--http-address", "--grpc-address"):
            if not any(argument.split("=")[0] == option for argument in given):
                command.append(f"{option}=127.0.0.1")
        return [*command, *given]

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return the environment: the Python backend runs the `python3` that is first in PATH, which is this one."""
        folders = [*map(str, self.libraries), inherited.get("LD_LIBRARY_PATH", "")]
        path = f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', os.defpath)}"
        return {**inherited, "PATH": path, "LD_LIBRARY_PATH": os.pathsep.join(filter(None, folders))}


def find_server() -> Server:
    """Return the server in PATH, that of NVIDIA's containers, or the one that the package nvidia-pytriton carries.

    Raises:
        RetinaFaceError: there is none.
    """
    found = shutil.which("tritonserver") or (str(_CONTAINERS) if _CONTAINERS.exists() else None)
    if found is not None:
        path = Path(found).resolve()
        return Server(path, path.parents[1] / "backends")
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise RetinaFaceError(
            "there is no tritonserver: it is not in PATH, not in /opt/tritonserver, and the package nvidia-pytriton, "
            "which has one, is not installed in this Python"
        )
    package = Path(spec.origin).parent
    libraries = (package.parent / "nvidia_pytriton.libs", Path(str(sysconfig.get_config_var("LIBDIR"))))
    return Server(package / "tritonserver/bin/tritonserver", _backends_of(package / "tritonserver"), libraries)


def _backends_of(package: Path) -> Path:
    """Return a folder with the Python backend and, beside it, its program for this Python.

    The package has that program in another place, and its own folder stays as it was installed.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = package / "python_backend_stubs" / python / _STUB
    if not stub.exists():
        raise RetinaFaceError(f"nvidia-pytriton has no Python backend for Python {python}: it needs {stub}")
    folder = cache_folder() / "triton" / f"{importlib.metadata.version('nvidia-pytriton')}-{python}"
    if not folder.exists():
        check_writable(folder.parent)
        files = [*filter(Path.is_file, (package / "backends/python").iterdir()), stub]
        write_folder(folder, {f"python/{file.name}": file.read_bytes() for file in files}, {f"python/{_STUB}"})
    return folder


def main(arguments: Sequence[str]) -> str:
    """Become the server; return what is wrong if that fails."""
    if not arguments:
        return "usage: python -m engine.triton.start REPOSITORY [OPTION OF tritonserver ...]"
    try:
        server = find_server()
        command = server.command(Path(arguments[0]).resolve(), arguments[1:])
        os.execve(command[0], command, server.environment(os.environ))
    except (RetinaFaceError, OSError) as error:
        return f"error: {error}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
