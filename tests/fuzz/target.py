"""What a target is: how its inputs are made, and what the product does with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from random import Random
from typing import Generic, TypeVar

Input = TypeVar("Input")
Files = dict[str, bytes]


class Target(ABC, Generic[Input]):
    """A part of the product that takes things from outside. A worker makes one and tries its inputs.

    Attributes:
        named: texts of which a refusal must have one: paths. Empty for what is no file.
    """

    named: tuple[str, ...] = ()

    @abstractmethod
    def make(self, random: Random) -> Input:
        """Return an input; nothing but `random` may decide about it."""

    @abstractmethod
    def run(self, made: Input) -> None:
        """Give an input to the product, which may accept it, or refuse it by a RetinaFaceError."""

    @abstractmethod
    def files(self, made: Input) -> Files:
        """Return an input as files, by name, for whoever looks into a finding."""


class FileTarget(Target[Files]):
    """A target whose inputs are files."""

    def __init__(self, folder: Path) -> None:
        """Write inputs to a folder, in memory if possible."""
        self.folder = folder

    def run(self, made: Files) -> None:
        """Write the files and read them."""
        for name, content in made.items():
            (self.folder / name).write_bytes(content)
        self.read(made)

    @abstractmethod
    def read(self, made: Files) -> None:
        """Let the product read the files, which lie in the folder."""

    def files(self, made: Files) -> Files:
        """Return the input as it is."""
        return made
