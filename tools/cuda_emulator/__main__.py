"""Lists instructions that the emulator does not support: python -m tools.cuda_emulator FILE.ptx ..."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.cuda_emulator.module import Module


def main(files: list[str]) -> int:
    """Print the unsupported instructions of PTX files; return 1 if there are any."""
    if not files:
        print("usage: python -m tools.cuda_emulator FILE.ptx ...", file=sys.stderr)
        return 2
    lines = [line for file in files for line in Module(Path(file).read_text()).unsupported()]
    print(*(lines or ["All instructions are supported."]), sep="\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
