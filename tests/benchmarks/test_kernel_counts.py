"""What the kernels move and execute, as the CUDA emulator counts it, stays within limits."""

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
        not is_emulated(), reason="only the CUDA emulator counts: there is a device, or it is not built"
    ),
]
counted = cache(count)


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.workload}: {limit.figure}")
def test_limit_holds(limit: Limit) -> None:
    """Each bound of benchmarks/kernels/limits.py; the workload's results are checked on the way."""
    result = counted(limit.workload)
    assert limit.holds(result), f"{limit.figure} is {limit.measure(result):,.2f}"


def test_deform_conv_is_linear_in_pixels_and_images() -> None:
    """Twice the rows cost as much as twice the images, and both twice of half, but for what each launch costs."""
    half, whole = counted("deform_conv half the batch"), counted("deform_conv")
    tall = counted("deform_conv half the batch, twice the map")
    for counter in ("warp_inst", "global_load_sectors", "global_store_sectors", "mma_flops"):
        assert tall.total(counter) == pytest.approx(whole.total(counter), rel=0.03)
        assert 2 * half.total(counter) == pytest.approx(whole.total(counter), rel=0.03)


def test_chain_of_suppression_is_followed_rightly() -> None:
    """benchmarks/kernels/chain.py knows every barrier of the kernel."""
    assert counted("nms scattered").total("barriers", "suppress") == barriers(5000)
