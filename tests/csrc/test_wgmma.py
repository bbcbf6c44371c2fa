"""Hopper's wgmma and TMA in the deformable convolution: compiled, since neither the emulator nor a GPU runs them.

test_hopper.py has the index arithmetic.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections import Counter
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.support.backends import EMULATOR_BUILD

pytestmark = pytest.mark.slow
# Of a step: four parts of 16 channels. A warpgroup has a quarter of the 64, 128 or 256 output channels.
INSTRUCTIONS = {"m64n16k16": 4, "m64n32k16": 4, "m64n64k16": 4}
TILE_BYTES = [64 * 128, 128 * 128, 256 * 128]  # of weights: 128 bytes for each output channel


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of deform_conv.ptx and deform_conv.cubin for sm_90a, and what the compiler printed."""
    commands = EMULATOR_BUILD / "compile_commands.json"
    if not commands.exists():
        pytest.skip(f"{EMULATOR_BUILD} holds no compile command: scripts/build-for-emulator VENV makes it")
    entries = json.loads(commands.read_text())
    (command,) = (entry["command"] for entry in entries if entry["file"].endswith("cuda/deform_conv/deform_conv.cu"))
    words = [word for word in shlex.split(command) if not word.startswith("--generate-code")]
    folder = tmp_path_factory.mktemp("wgmma")
    options = ["-DRETINAFACE_WGMMA", "-arch=sm_90a", "--cubin", "-Xptxas", "-v,-Werror", "--keep", "--keep-dir", "."]
    source = words[words.index("-c") + 1]
    done = subprocess.run(
        [*words[: words.index("-x")], *options, "-o", "deform_conv.cubin", source],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, done.stdout + done.stderr


def test_it_is_asynchronous(compiled: tuple[Path, str]) -> None:
    """The assembler reports the instructions that it makes wait for each other, and spilled registers."""
    folder, report = compiled
    assert report.count("Compiling entry function") == 18  # three types, three tiles, two kernels
    assert "(C7" not in report
    assert set(re.findall(r"(\d+) bytes spill", report)) == {"0"}
    ptx = (folder / "deform_conv.ptx").read_text()
    for type_ in ("f16", "bf16"):
        found = re.findall(rf"wgmma\.mma_async\.sync\.aligned\.(\w+)\.f32\.{type_}\.{type_} ", ptx)
        assert Counter(found) == INSTRUCTIONS


def test_its_weights_come_by_tma(compiled: tuple[Path, str]) -> None:
    """One thread copies a tile with one instruction, and lets the barrier wait for as many bytes."""
    ptx = (compiled[0] / "deform_conv.ptx").read_text()
    kernels = [text for text in ptx.split(".entry ") if "cp.async.bulk.tensor" in text]
    expected = []
    for kernel in kernels:
        registers = re.findall(r"mbarrier\.arrive\.expect_tx\S* _, \[%r\d+\], (%r\d+);", kernel)
        assert len(registers) == kernel.count("cp.async.bulk.tensor.2d") == 2  # before the loop and in it
        assert "cp.async.cg" not in kernel
        values = [re.findall(rf"mov\.u32 \t{register}, (\d+);", kernel) for register in registers]
        expected.append({int(value) for found in values for value in found})
    assert sorted(expected, key=min) == [{n} for n in TILE_BYTES for _ in ("f16", "bf16")]


def test_the_machine_code(compiled: tuple[Path, str]) -> None:
    folder, _ = compiled
    nvdisasm = distribution("nvidia-cuda-nvdisasm").locate_file("nvidia/cu13/bin/nvdisasm")
    code = subprocess.run(
        [str(nvdisasm), str(folder / "deform_conv.cubin")], capture_output=True, text=True, check=True
    )
    assert len(re.findall(r"\bHGMMA\.", code.stdout)) == 2 * sum(INSTRUCTIONS.values())
    assert len(re.findall(r"\bUTMALDG\.2D\b", code.stdout)) == 6 * 2
    # One wait for a step, not one for each instruction: six kernels of 16-bit types, before the loop and in it.
    assert len(re.findall(r"\bWARPGROUP\.DEPBAR", code.stdout)) == 6 * 2
