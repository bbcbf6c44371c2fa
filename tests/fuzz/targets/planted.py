"""Faults that the harness has to find: the first letter of an input says which. Most inputs are none."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from random import Random

from engine.errors import RetinaFaceError
from tests.fuzz.target import Files, FileTarget

FAULTS: dict[int, str] = {
    5: "crash", 7: "exit", 11: "hang", 13: "memory", 17: "exception", 19: "exception", 23: "unnamed", 29: "causeless",
    31: "unprintable",
}  # fmt: skip
"""Faults of the inputs whose random number is this one."""
NUMBERS = 40


class Planted(FileTarget):
    """A reader that takes numbers and has faults."""

    def __init__(self, folder: Path) -> None:
        """Read a file of the folder."""
        super().__init__(folder)
        self._path = folder / "planted.txt"
        self.named = (str(self._path),)

    def make(self, random: Random) -> Files:
        """Return a number, in words if it is a fault."""
        if "PLANTED_BREAKS" in os.environ:
            raise ValueError("no input can be made")
        number = random.randrange(NUMBERS)
        return {self._path.name: f"{FAULTS.get(number, 'fine')} {number}".encode()}

    def read(self, made: Files) -> None:
        """Do what the file says."""
        fault, number = self._path.read_text().split()
        if fault == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif fault == "exit":
            os._exit(3)
        elif fault == "hang":
            time.sleep(1000)
        elif fault == "memory":
            _ = b"\1" * (600 << 20)
        elif fault == "exception":
            _ = FAULTS[-1]
        elif fault == "unnamed":
            raise RetinaFaceError("a file cannot be read: it is damaged")
        elif fault == "causeless":
            raise RetinaFaceError(f"{self._path}: bad")
        elif fault == "unprintable":
            error = RetinaFaceError()
            error.args = (f"{self._path} is not a number but \x1b[31mred",)  # the class would make it printable
            raise error
        elif int(number) % 2:
            raise RetinaFaceError(f"{self._path} holds {number}, expected an even number")
