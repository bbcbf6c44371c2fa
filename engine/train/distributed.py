"""One process for each GPU, or more: PyTorch's distributed data parallel, as torchrun starts it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from engine.errors import DeviceError, InvalidArgumentError

DEVICES = ("auto", "cpu", "cuda", "cuda:N")


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


@contextmanager
def joined(device: str = "auto") -> Iterator[Processes]:
    """Join the processes that torchrun started; alone without it.

    Args:
        device: "auto" is a GPU if PyTorch can use one; with several processes each takes the GPU of its local rank.

    Raises:
        InvalidArgumentError: the device is something else.
        DeviceError: PyTorch cannot use it.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = _device(device, int(os.environ.get("LOCAL_RANK", "0")) if count > 1 else None)
    if count == 1:
        yield Processes(0, 1, chosen)
        return
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), count, chosen)
    finally:
        distributed.destroy_process_group()


def _device(given: str, local_rank: int | None) -> torch.device:
    kind, _, number = given.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and not (kind == "cuda" and number.isdecimal())):
        raise InvalidArgumentError(f"device is {given!r:.80}, expected {', '.join(DEVICES)}")
    gpus = torch.cuda.device_count()
    if kind == "cpu" or (kind == "auto" and not gpus):
        return torch.device("cpu")
    index = int(number) if number else local_rank or 0
    if index >= gpus:
        raise DeviceError(f"PyTorch sees {gpus} GPUs, and GPU {index} was asked for: choose another, or --device cpu")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)
