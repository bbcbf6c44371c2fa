"""Several processes learn what one process learns from the whole batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from engine.errors import DeviceError, InvalidArgumentError
from engine.train.checkpoints import Checkpoint
from engine.train.distributed import Processes, joined
from tests.support.training.gradients import learn
from tests.support.training.runs import ALONE

ROOT = Path(__file__).parents[3]


def free_port() -> int:
    """A port that nobody listens to."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def run_processes(count: int, *command: str) -> None:
    """Run a command in several processes, as torchrun starts them."""
    environment = {**os.environ, "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = [
        subprocess.Popen(command, cwd=ROOT, env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(count)
    ]
    try:
        assert [process.wait(timeout=300) for process in started] == [0] * count
    finally:
        for process in started:
            process.kill()


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What one process learned from four pictures, and what two processes learned, which have half of them each.

    Pictures with many faces and with none are in different processes. The processes also say the first one's words and
    raise its errors (`of_first`).
    """
    alone, together = tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("together")
    learn(ALONE, alone)
    run_processes(2, sys.executable, "-m", "tests.support.training.gradients", str(together))
    return alone, together


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "share"), [("float32", 1e-4), ("int8", 1e-9)])
def test_two_processes_have_the_gradients_of_one(precision: str, share: float, learned: tuple[Path, Path]) -> None:
    """Sums in another order: of float32, and of the float64 in which the INT8 network is computed here."""
    one, two = (torch.load(folder / f"{precision}.pth", weights_only=True) for folder in learned)
    assert two.keys() == one.keys()
    for name, value in one.items():
        atol = share / 10 * float(value.abs().max())
        torch.testing.assert_close(two[name], value, rtol=share, atol=atol, msg=name)


@pytest.mark.slow
def test_two_processes_learn_the_weights_of_one(learned: tuple[Path, Path]) -> None:
    """Sums of float32 in another order."""
    one, two = (Checkpoint.read(folder / "run" / "last.pth") for folder in learned)
    assert two.position.records[-1].losses == pytest.approx(one.position.records[-1].losses, rel=1e-5)
    assert two.position.records[-1].average_precision == one.position.records[-1].average_precision
    for name, value in one.trained.items():
        torch.testing.assert_close(two.trained[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_a_batch_is_divided_equally() -> None:
    processes = Processes(1, 2, torch.device("cpu"))
    assert processes.share_of(6) == 3
    with pytest.raises(InvalidArgumentError, match="the batch is 7, expected a multiple of 2"):
        processes.share_of(7)


def test_float32_is_not_rounded_on_gpus() -> None:
    torch.backends.cudnn.allow_tf32 = True
    with joined("cpu"):
        assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:0", ""])
def test_unknown_devices_are_refused(device: str) -> None:
    with pytest.raises(InvalidArgumentError, match="expected auto, cpu, cuda, cuda:N"), joined(device):
        pass


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match="PyTorch sees 1 GPUs, and GPU 3 was asked for"), joined("cuda:3"):
        pass


TORCHRUN = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("WORLD_SIZE", "two", "WORLD_SIZE is 'two', expected a whole number from 1 to 65536"),
        ("WORLD_SIZE", "0", "WORLD_SIZE is '0'"),
        ("WORLD_SIZE", "-2", "WORLD_SIZE is '-2'"),
        ("WORLD_SIZE", "9" * 40, "WORLD_SIZE is '999"),
        ("RANK", "2", "RANK is '2', expected a whole number from 0 to 1: start with torchrun"),
        ("RANK", "", "RANK is ''"),
        ("RANK", None, "RANK is not set, expected a whole number from 0 to 1"),
        ("LOCAL_RANK", "1.0", "LOCAL_RANK is '1.0'"),
        ("LOCAL_RANK", None, "LOCAL_RANK is not set"),
        ("MASTER_PORT", "70000", "MASTER_PORT is '70000', expected a whole number from 1 to 65535"),
        ("MASTER_PORT", None, "MASTER_PORT is not set"),
        ("MASTER_ADDR", "", "MASTER_ADDR is not set, expected the address of the first process"),
    ],
)
def test_an_environment_that_torchrun_never_makes_is_refused(
    name: str, value: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, text in TORCHRUN.items():
        monkeypatch.setenv(variable, text)
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidArgumentError, match=expected), joined("cpu"):
        pass


def test_one_gpu_for_several_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, text in TORCHRUN.items():
        monkeypatch.setenv(variable, text)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    expected = "device is 'cuda:1', which 2 processes would share: give cuda"
    with pytest.raises(InvalidArgumentError, match=expected), joined("cuda:1"):
        pass
