"""Statistics, exactly, of kernels whose accesses are known: kernels/counting.cu. They run in a process of their own, as
CUDA_EMULATOR_STATS is read when the library is loaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import Runner, built

ROOT = Path(__file__).resolve().parents[3]

# Launches by test name: kernel, grid, block, and arguments (arrays of so many bytes, or numbers).
LAUNCHES: dict[str, list[Any]] = {
    "coalesced": ["coalesced", 2, 128, [1024, 1024]],
    "strided": ["strided", 1, 128, [4096, 512]],
    "repeated": ["repeated", 2, 64, [256, 256]],
    "vectors": ["vectors", 1, 32, [512, 512]],
    "banks 1": ["banks", 1, 32, [128], 1],
    "banks 2": ["banks", 1, 32, [128], 2],
    "banks 32": ["banks", 1, 32, [128], 32],
    "banks 33": ["banks", 1, 32, [128], 33],
    "wide banks 1": ["wide_banks", 1, 32, [512], 1],
    "wide banks 8": ["wide_banks", 1, 32, [512], 8],
    "local": ["local_array", 1, 32, [64, 128], 3],
    "atomics": ["atomics", 2, 64, [4]],
    "matrix": ["matrix_product", 1, 32, [256, 256, 512]],
    "arithmetic": ["arithmetic", 1, 48, [192, 192], 0],
}
SCRIPT = """
import json, sys
import numpy as np
from tools.cuda_emulator import Module, issued_instructions, reset_statistics, statistics
module, counted = Module(open(sys.argv[1]).read()), {}
for name, (kernel, grid, block, arrays, *numbers) in json.loads(sys.argv[2]).items():
    reset_statistics()
    before = issued_instructions()
    module.launch(kernel, grid, block, *(np.zeros(size, np.uint8) for size in arrays), *numbers)
    counted[name] = statistics()[kernel] | {"issued": issued_instructions() - before}
print(json.dumps(counted))
"""


@pytest.fixture(scope="module")
def counted() -> dict[str, dict[str, int]]:
    command = [sys.executable, "-c", SCRIPT, str(built("counting_80.ptx")), json.dumps(LAUNCHES)]
    environment = {**os.environ, "CUDA_EMULATOR_STATS": os.devnull}
    output = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    result: dict[str, dict[str, int]] = json.loads(output)
    return result


EXPECTED: dict[str, dict[str, int]] = {
    # 8 warps of 32 floats: 4 sectors of 32 bytes each.
    "coalesced": {
        "launches": 1, "blocks": 2, "threads": 256, "divergent_branches": 0, "local_load_requests": 0,
        "global_load_requests": 8, "global_load_bytes": 1024, "global_load_sectors": 32, "global_store_sectors": 32,
        "global_load_groups": 8, "global_load_block_sectors": 32, "global_launch_sectors": 64, "fences": 0,
    },
    # Each of two blocks of two warps loads the same 8 sectors; both store to the same 8. The warps' first two loads are
    # a group. The second warp's third is, too, as it is ten or so instructions behind.
    "repeated": {
        "global_load_requests": 10, "global_load_sectors": 40, "global_load_block_sectors": 16,
        "global_launch_sectors": 16, "global_load_groups": 4, "fences": 4,
    },
    # One sector for each float that is read.
    "strided": {"global_load_bytes": 512, "global_load_sectors": 128, "global_store_sectors": 16},
    "vectors": {"global_load_requests": 1, "global_load_bytes": 512, "global_load_sectors": 16},
    # Bank conflicts of a stride: the greatest common divisor with 32.
    "banks 1": {"shared_load_wavefronts": 1, "shared_store_conflict_extra": 0, "barriers": 1,
                "shared_load_groups": 1},
    "banks 2": {"shared_load_wavefronts": 2, "shared_store_conflict_extra": 1},
    "banks 32": {"shared_load_wavefronts": 32, "shared_store_conflict_extra": 31},
    "banks 33": {"shared_load_wavefronts": 1, "shared_store_conflict_extra": 0},
    # A quarter warp at a time: eight lanes with four words each use all banks once, or all use the same four.
    "wide banks 1": {"shared_load_requests": 1, "shared_load_wavefronts": 4, "shared_load_conflict_extra": 0},
    "wide banks 8": {"shared_load_requests": 1, "shared_load_wavefronts": 32, "shared_load_conflict_extra": 28},
    "local": {"local_store_bytes": 32 * 64, "local_load_bytes": 128, "local_bytes_per_thread": 64},
    # Two addresses in shared memory for 32 lanes, then two lanes for one in global memory, in each of two blocks.
    "atomics": {
        "shared_atomics": 128, "shared_atomic_same_address_extra": 120, "global_atomics": 4,
        "global_atomic_same_address_extra": 2, "max_shared_bytes_per_block": 16, "barriers": 8,
    },
    "matrix": {"mma_inst": 1, "mma_flops": 2 * 8 * 8 * 4, "warp_syncs": 1},
    # Of 48 threads, the second warp has 16 lanes.
    "arithmetic": {"fp32_inst": 480, "special_inst": 480, "fp64_inst": 0, "fp16_inst": 0, "threads": 48},
}  # fmt: skip


@pytest.mark.parametrize("name", LAUNCHES)
def test_counts(name: str, counted: dict[str, dict[str, int]]) -> None:
    assert {field: counted[name][field] for field in EXPECTED[name]} == EXPECTED[name]
    assert counted[name]["warp_inst"] == counted[name]["issued"]


def test_active_lanes(counted: dict[str, dict[str, int]]) -> None:
    """Without divergence, all lanes of a warp execute each instruction: 32, and 16 in the last warp."""
    coalesced, arithmetic = counted["coalesced"], counted["arithmetic"]
    assert coalesced["thread_inst"] == 32 * coalesced["warp_inst"]
    assert arithmetic["thread_inst"] == 24 * arithmetic["warp_inst"]


def test_busiest_warps(counted: dict[str, dict[str, int]]) -> None:
    """Of two equal blocks with two warps each, of which one has more to do."""
    repeated, coalesced = counted["repeated"], counted["coalesced"]
    busiest = repeated["busiest_warp_of_launches_inst"]
    assert repeated["busiest_warp_of_blocks_inst"] == 2 * busiest
    assert repeated["warp_inst"] / 4 < busiest < repeated["warp_inst"] / 2
    assert coalesced["warp_inst"] == 8 * coalesced["busiest_warp_of_launches_inst"]


def test_file_table_and_trace(run: Runner, tmp_path: Path) -> None:
    """The values of CUDA_EMULATOR_STATS, for a whole program; the file is the same in every run."""
    texts = []
    for index in range(2):
        path = tmp_path / f"{index}.json"
        assert run("runtime", "other_ways_to_launch", CUDA_EMULATOR_STATS=str(path)).returncode == 0
        texts.append(path.read_text())
    assert texts[0] == texts[1]
    ((kernel, counters),) = json.loads(texts[0]).items()
    assert "add" in kernel
    assert counters["launches"] == 3
    table = run("runtime", "other_ways_to_launch", CUDA_EMULATOR_STATS="1").stderr
    assert "cuda_emulator statistics: " + kernel in table
    assert "launches 3, blocks 12, threads 3072" in table
    trace = run("runtime", "other_ways_to_launch", CUDA_EMULATOR_STATS="trace").stderr
    assert trace.count(f"launch {kernel} grid=(4,1,1) block=(256,1,1) dynamic_shared=0") == 3
    assert run("runtime", "other_ways_to_launch").stderr == ""
