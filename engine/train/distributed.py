"""One process for each GPU, or more: PyTorch's distributed data parallel, as torchrun starts it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from engine.errors import DeviceError, InvalidArgumentError, RetinaFaceError, TrainingError

T = TypeVar("T")

DEVICES = ("auto", "cpu", "cuda", "cuda:N")
_MOST_PROCESSES = 1 << 16
_PATIENCE = timedelta(hours=12)  # the others wait while the first one calibrates
_LARGEST_PORT = (1 << 16) - 1


@dataclass(frozen=True)
class Processes:
    """The processes of a run, as one of them sees them.

    Attributes:
        rank: of this process.
        count: of all.
        device: of this process.
    """

    rank: int
    count: int
    device: torch.device

    def share_of(self, batch: int) -> int:
        """Return how many pictures of a batch are this process's.

        Raises:
            InvalidArgumentError: the batch cannot be divided equally.
        """
        if batch % self.count:
            raise InvalidArgumentError(f"the batch is {batch}, expected a multiple of {self.count}, the processes")
        return batch // self.count

    def synchronised(self, model: nn.Module) -> nn.Module:
        """Return the model whose batch normalisations take their statistics from all processes' pictures.

        PyTorch has that for GPUs only: on CPUs each process takes those of its own pictures, and the first one's are
        kept.
        """
        if self.count > 1 and self.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return model.to(self.device)

    def parallel(self, model: nn.Module) -> nn.Module:
        """Return the model, whose gradients become the mean of all processes'."""
        if self.count == 1:
            return model
        return DistributedDataParallel(model, device_ids=[self.device] if self.device.type == "cuda" else None)

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Return the mean of a tensor over all processes, without a gradient."""
        if self.count == 1:
            return value
        value = value.detach().clone()
        distributed.all_reduce(value)
        return value / self.count

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the sums of numbers over all processes."""
        if self.count == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(sums)
        return [float(value) for value in sums.tolist()]

    def gathered(self, items: list[Any]) -> list[Any]:
        """Return the items of all processes in turn: the first ones, then the second ones."""
        if self.count == 1:
            return items
        lists: list[list[Any]] = [[] for _ in range(self.count)]
        distributed.all_gather_object(lists, items)
        longest = max(map(len, lists))
        return [own[i] for i in range(longest) for own in lists if i < len(own)]

    def of_first(self, make: Callable[[], T]) -> T:
        """Return on each process what `make` returns on the first one, which alone calls it; what it raises, too."""
        if self.count == 1:
            return make()
        made: list[Any] = [None, None]
        if not self.rank:
            try:
                made[0] = make()
            except RetinaFaceError as error:
                made[1] = error  # raised by all: the others would wait for the first one
        distributed.broadcast_object_list(made, src=0)
        if made[1] is not None:
            raise made[1]
        value: T = made[0]
        return value


@contextmanager
def joined(device: str = "auto") -> Iterator[Processes]:
    """Join the processes that torchrun started; alone without it.

    Args:
        device: "auto" is a GPU if PyTorch can use one; with several processes each takes the GPU of its local rank.

    Raises:
        InvalidArgumentError: the device is something else, or one GPU for several processes; or a variable that
            torchrun sets has a value that it never gives.
        DeviceError: PyTorch cannot use it.
        TrainingError: the processes do not find each other.
    """
    # Else PyTorch's convolutions in float32 round to 10 bits of mantissa on GPUs.
    torch.backends.cudnn.allow_tf32 = False
    count = _variable("WORLD_SIZE", 1, _MOST_PROCESSES, default=1)
    if count == 1:
        yield Processes(0, 1, _device(device, 0))
        return
    rank, local_rank = _variable("RANK", 0, count - 1), _variable("LOCAL_RANK", 0, count - 1)
    _variable("MASTER_PORT", 1, _LARGEST_PORT)
    if not os.environ.get("MASTER_ADDR"):
        raise InvalidArgumentError(_not_set("MASTER_ADDR", "the address of the first process"))
    if ":" in device:
        raise InvalidArgumentError(
            f"device is {device!r:.80}, which {count} processes would share: give cuda, and each takes the GPU of its "
            "local rank. CUDA_VISIBLE_DEVICES says which GPUs there are"
        )
    chosen = _device(device, local_rank)
    try:
        distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"process {rank} of {count} did not find the others at MASTER_ADDR {os.environ['MASTER_ADDR']!r:.200} and "
            f"MASTER_PORT {os.environ['MASTER_PORT']}: {error!s:.500}"
        ) from error
    try:
        yield Processes(distributed.get_rank(), count, chosen)
    finally:
        distributed.destroy_process_group()


def _variable(name: str, least: int, most: int, default: int | None = None) -> int:
    """Return a whole number that torchrun puts into the environment."""
    text, expected = os.environ.get(name), f"a whole number from {least} to {most}"
    if text is None:
        if default is None:
            raise InvalidArgumentError(_not_set(name, expected))
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= most):
        raise InvalidArgumentError(
            f"the environment variable {name} is {text!r:.80}, expected {expected}: start with torchrun, or unset "
            "WORLD_SIZE to train in one process"
        )
    return int(text)


def _not_set(name: str, expected: str) -> str:
    return (
        f"the environment variable WORLD_SIZE says that there are several processes, but {name} is not set, expected "
        f"{expected}: start with torchrun, or unset WORLD_SIZE to train in one process"
    )


def _device(given: str, local_rank: int) -> torch.device:
    kind, _, number = given.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and not (kind == "cuda" and number.isdecimal())):
        raise InvalidArgumentError(f"device is {given!r:.80}, expected {', '.join(DEVICES)}")
    gpus = torch.cuda.device_count()
    if kind == "cpu" or (kind == "auto" and not gpus):
        return torch.device("cpu")
    index = int(number) if number else local_rank
    if index >= gpus:
        raise DeviceError(f"PyTorch sees {gpus} GPUs, and GPU {index} was asked for: choose another, or --device cpu")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)
