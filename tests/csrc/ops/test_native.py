"""The compiled module: its build information, and the package without it."""

from __future__ import annotations

import subprocess
import sys

from engine import ops


def run_python(code: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_counting_devices_never_fails() -> None:
    """Not even without a driver."""
    assert ops.cuda_device_count() >= 0


def test_build_info_says_what_was_built() -> None:
    """Version, compiler, and either both of CUDA's version and architectures or neither."""
    info = ops.build_info()
    assert set(info) == {"version", "compiler", "cuda_version", "cuda_architectures"}
    assert info["version"]
    assert (info["cuda_version"] is None) == (info["cuda_architectures"] is None)


def test_the_package_imports_nothing_heavy() -> None:
    """Torch, TensorRT and ONNX are imported only where they are used."""
    code = (
        "import sys, engine, engine.ops; print([m for m in sys.modules if m in {'torch', 'tensorrt', 'onnx', 'cupy'}])"
    )
    assert run_python(code) == "[]\n"


def test_without_the_compiled_module_the_message_says_how_to_build_it() -> None:
    """The package itself can be imported."""
    code = """
import sys
sys.modules["engine._native"] = None
import engine
from engine.errors import NativeModuleError
try:
    import engine.ops
except NativeModuleError as error:
    print(isinstance(error, ImportError), error)
"""
    assert "True engine._native, the compiled part" in (message := run_python(code))
    assert "pip install -e ." in message


def test_daemon_threads_that_come_back_while_the_interpreter_ends_do_not_abort_it() -> None:
    code = (
        "import threading, time, numpy as np\n"
        "from engine import ops\n"
        "image = np.zeros((1080, 1920, 3), np.uint8)\n"
        "def work():\n"
        "    while True:\n"
        "        ops.letterbox([image], (640, 640), mean=0.0)\n"
        "for _ in range(4):\n"
        "    threading.Thread(target=work, daemon=True).start()\n"
        "time.sleep(0.2)\n"
    )
    assert run_python(code) == ""
