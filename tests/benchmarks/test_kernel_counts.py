"""The kernels' traffic and instructions, counted by the CUDA emulator, stay within limits."""

from __future__ import annotations

from functools import cache

import pytest

from benchmarks.kernels.chain import barriers
from benchmarks.kernels.limits import LIMITS, Limit
from benchmarks.kernels.statistics import count
from tests.support.backends import is_emulated

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not is_emulated(), reason="needs the CUDA emulator, which is not built or not used because there is a GPU"
    ),
]
counted = cache(count)


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.workload}: {limit.figure}")
def test_limit_holds(limit: Limit) -> None:
    """Each limit of benchmarks/kernels/limits.py; the workload also checks its results."""
    result = counted(limit.workload)
    assert limit.holds(result), f"{limit.figure} is {limit.measure(result):,.2f}"


def test_deform_conv_is_linear_in_pixels_and_images() -> None:
    """Twice the rows cost as much as twice the images. Their products cost twice as much as half of them.

    The rest does not: half the work is divided into narrower blocks, which share sums, to fill the device.
    """
    half, whole = counted("deform_conv half the batch"), counted("deform_conv")
    tall = counted("deform_conv half the batch, twice the map")
    for counter in ("warp_inst", "global_load_sectors", "global_store_sectors", "mma_flops"):
        assert tall.total(counter) == pytest.approx(whole.total(counter), rel=0.03)
    assert 2 * half.total("mma_flops") == pytest.approx(whole.total("mma_flops"), rel=0.03)


def test_the_model_of_the_nms_kernel_has_its_barriers() -> None:
    """benchmarks/kernels/chain.py has as many barriers as the kernel executes."""
    assert counted("nms scattered").total("barriers", "suppress") == barriers(5000)
