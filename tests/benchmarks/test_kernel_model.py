"""The cost model of the kernels: its arithmetic, its tables, and how far it is from what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.kernels import document
from benchmarks.kernels.model import counts as kept_counts
from benchmarks.kernels.model import rows, tables, units
from benchmarks.kernels.model.gpus import GPUS, H200, Gpu
from benchmarks.kernels.workloads import MODEL_WORKLOADS
from tests.support.backends import is_emulated

# 1 GHz, so that a thousand cycles are a microsecond.
SIMPLE = Gpu("simple", 80, 10, 1.0, 100, 20.48, 0.5, 64, 32, 128, 32)
NOTHING = dict.fromkeys(units.COUNTERS, 0.0) | {"launches": 1, "blocks": 10, "warp_inst": 1}

BUSY = {
    # Each of 10 multiprocessors has a tenth: 4 schedulers, 1.2 machine instructions for one of PTX.
    "issue": ({"warp_inst": 400_000}, 400_000 / 10 / 4 * 1.2),
    "integer": ({"int_inst": 3_200_000}, 10_000),
    "float": ({"fp32_inst": 6_400_000}, 10_000),
    "special": ({"special_inst": 1_600_000}, 10_000),
    # 20.48 TFLOP/s are 2048 a clock and multiprocessor, of which half is reached.
    "matrix": ({"mma_flops": 102_400_000}, 10_000),
    # 128 bytes a clock: a wavefront, or four sectors.
    "L1": (
        {
            "shared_load_wavefronts": 30_000,
            "shared_store_wavefronts": 20_000,
            "global_load_sectors": 160_000,
            "global_store_sectors": 40_000,
        },
        10_000,
    ),
    "L2": ({"global_load_block_sectors": 60_000, "global_store_sectors": 40_000}, 10_000),
    # 100 bytes a nanosecond.
    "memory": ({"global_launch_sectors": 31_250}, 10_000),
}


@pytest.mark.parametrize("unit", BUSY)
def test_a_unit(unit: str) -> None:
    """One unit that needs ten thousand cycles, or twelve."""
    counts, cycles = BUSY[unit]
    times = units.unit_times(NOTHING | counts, SIMPLE, 1)
    assert times[unit] == pytest.approx(cycles / 1000)
    assert max(times, key=lambda name: times[name]) == unit
    assert units.kernel_time(NOTHING | counts, SIMPLE, 1) == pytest.approx(units.START_US + cycles / 1000)
    faster = replace(SIMPLE, clock_ghz=2.0, matrix_tflops=40.96, memory_gbs=200)
    assert units.unit_times(NOTHING | counts, faster, 1)[unit] == pytest.approx(cycles / 2000)


def test_the_busiest_multiprocessor_has_whole_blocks() -> None:
    """Eleven blocks on ten multiprocessors take as long as twenty; one block as long as ten times its work in ten."""
    for blocks, share in ((1, 1), (10, 1 / 10), (11, 2 / 11), (20, 2 / 20)):
        counts = NOTHING | {"blocks": blocks, "warp_inst": 400_000}
        assert units.unit_times(counts, SIMPLE, 1)["issue"] == pytest.approx(120 * share)
    # Bandwidth behind the multiprocessors is shared by all.
    counts = NOTHING | {"blocks": 1, "global_load_block_sectors": 100_000}
    assert units.unit_times(counts, SIMPLE, 1)["L2"] == pytest.approx(10)


def test_the_latency_of_waves() -> None:
    """Three waves of 10 x 2 blocks: two of a mean block that have to start, and the longest; loads add their mean."""
    counts = NOTHING | {
        "blocks": 50,
        "warp_inst": 100_000,
        "busiest_warp_of_blocks_inst": 50 * 1000,
        "busiest_warp_of_launches_inst": 3000,
    }
    instruction, starts = 4.2 * 1.2, 2 * 300 / 1000
    times = units.unit_times(counts, SIMPLE, 2)
    assert times["latency"] == pytest.approx(starts + instruction * (2 * 1000 + 3000) / 1000)
    waits = {"global_load_groups": 100, "shared_load_groups": 200, "barriers": 300, "fences": 10}
    waiting = (100 * 300 + 200 * 30 + 300 * 30 + 10 * 500) / 100_000
    times = units.unit_times(counts | waits, SIMPLE, 2)
    assert times["latency"] == pytest.approx(starts + (instruction + waiting) * 5)


def test_several_launches_follow_each_other() -> None:
    """Each starts anew and has its own share of the blocks."""
    once = NOTHING | {"blocks": 11, "warp_inst": 400_000, "busiest_warp_of_blocks_inst": 1e4,
                      "busiest_warp_of_launches_inst": 1e3}  # fmt: skip
    twice = {name: 2 * value for name, value in once.items()}
    assert units.kernel_time(twice, SIMPLE, 1) == pytest.approx(2 * units.kernel_time(once, SIMPLE, 1))


def test_kernels_of_a_chain_start_early_on_gpus_that_can() -> None:
    """Two of decoding's three kernels, and not the deformable convolution's."""
    counted = kept_counts.load()
    for gpu in GPUS:
        for row, dependents in ((rows.ROWS[0], 2), (rows.ROWS[-1], 0)):
            saved = tables.time(row, gpu, counted, chained=False) - tables.time(row, gpu, counted)
            expected = dependents * (units.START_US - units.DEPENDENT_START_US) if gpu.capability >= 90 else 0
            assert saved == pytest.approx(expected, abs=1e-9)


def test_roofline_and_extrapolation() -> None:
    assert units.roofline(1e6, 1, SIMPLE) == pytest.approx(10)
    assert units.roofline(1, 20.48e6, SIMPLE) == pytest.approx(1)
    assert units.extrapolate({"blocks": 10, "launches": 1}, {"blocks": 18, "launches": 1}, 5) == {
        "blocks": 42,
        "launches": 1,
    }


def test_the_tables_are_current() -> None:
    """They follow from the kept counts, the table of compiled kernels and the figures of the GPUs."""
    counted = kept_counts.load()
    for name, text in tables.sections(counted).items():
        assert document.read(name) == text, "python -m benchmarks.kernels.model rewrites it"
    assert sorted(counted) == rows.all_keys()


@pytest.mark.parametrize(("row", "measured"), rows.MEASURED, ids=lambda value: getattr(value, "name", ""))
def test_the_model_is_near_what_was_measured(row: rows.Row, measured: float) -> None:
    modelled = tables.time(row, H200, kept_counts.load_measured(), chained=False)
    assert 1 / rows.FACTOR < modelled / measured < rows.FACTOR


def test_no_modelled_time_is_below_the_roofline() -> None:
    counted = kept_counts.load()
    for gpu in GPUS:
        for row in rows.ROWS:
            assert tables.time(row, gpu, counted) > tables.floor(row, gpu, counted), (row.name, gpu.name)


@pytest.mark.gpu
@pytest.mark.skipif(not is_emulated(), reason="needs the CUDA emulator, which is not built or not used: there is a GPU")
@pytest.mark.parametrize("workload", ["decode clean x 1", "nms scattered x 1", "letterbox 1080 x 1",
                                      "deform_conv linear 1 x 20 x 20 sigma 1"])  # fmt: skip
def test_the_kept_counts_are_those_of_the_kernels(workload: str) -> None:
    """A kernel of each operator; `make kernel-model` counts all anew."""
    assert workload in MODEL_WORKLOADS
    kept = kept_counts.load()
    wanted = [key for key in kept if key.partition(";")[0] == workload][:1]
    assert kept_counts.count_all(wanted) == {key: kept[key] for key in wanted}
