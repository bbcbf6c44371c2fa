"""Whole programs on the emulator's runtime library; each name here is a test in programs/."""

from __future__ import annotations

import pytest

from .conftest import Runner

RUNTIME = [
    "copies_and_streams", "copies_from_pageable_memory", "copies_of_rows", "events", "dynamic_shared_memory",
    "shared_memory_beside_a_large_heap", "refused_launches", "other_ways_to_launch", "allocations",
    "memory_pools", "registered_host_memory", "variables", "faults_are_reported_once", "properties",
]  # fmt: skip
CAPTURE = [
    "replay_with_a_fork", "waiting_is_forbidden", "allocating_is_forbidden_unless_relaxed",
    "freeing_is_forbidden_unless_relaxed", "freeing_in_stream_order_is_allowed",
    "other_threads_may_not_free_during_global_captures", "captures_end_in_their_thread_unless_relaxed",
    "legacy_stream_is_forbidden", "forks_must_be_joined", "outside_work_cannot_be_waited_for",
]  # fmt: skip
DEPENDENT = [
    "waits", "early_load", "early_store", "early_store_to_what_is_read", "early_load_of_what_the_first_of_three_wrote",
    "no_wait", "early_loads_behind_other_work", "early_load_in_a_graph",
]  # fmt: skip
ALGORITHMS = ["cub_sum", "cub_sort", "cub_scan", "thrust_reduce"]


def _passes(run: Runner, program: str, test: str, **settings: str) -> None:
    done = run(program, test, **settings)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("test", RUNTIME)
def test_runtime(test: str, run: Runner) -> None:
    _passes(run, "runtime", test)


@pytest.mark.parametrize("test", CAPTURE)
def test_capture(test: str, run: Runner) -> None:
    _passes(run, "capture", test)


@pytest.mark.parametrize("test", DEPENDENT)
def test_dependent_launches(test: str, run: Runner) -> None:
    """What a dependent kernel does too early is a fault."""
    _passes(run, "dependent", test, CUDA_EMULATOR_RACE="1", CUDA_EMULATOR_CC="90")


def test_dependent_launches_on_older_devices(run: Runner) -> None:
    """They are plain launches."""
    _passes(run, "dependent", "early_loads_on_older_devices", CUDA_EMULATOR_RACE="1", CUDA_EMULATOR_CC="89")


@pytest.mark.parametrize("races", ["0", "1"])
@pytest.mark.parametrize("test", ALGORITHMS)
def test_algorithms(test: str, races: str, run: Runner) -> None:
    """CUB and Thrust, which have no races."""
    _passes(run, "algorithms", test, CUDA_EMULATOR_RACE=races)


def test_faults_stay(run: Runner) -> None:
    _passes(run, "runtime", "faults_stay", CUDA_EMULATOR_STICKY="1")
    assert run("runtime", "faults_stay").returncode == 1


def test_properties_from_the_environment(run: Runner) -> None:
    settings = {"CC": "120", "SMS": "3", "SMEM_OPTIN": "99", "MEM_MB": "16"}
    _passes(run, "runtime", "other_properties", **{f"CUDA_EMULATOR_{name}": value for name, value in settings.items()})


def test_printf(run: Runner) -> None:
    done = run("device_code", "printf")
    lines = [f"thread {i} of block:  {i}.50 {-(1 << 40)} y% ff" for i in range(2)]
    assert (done.returncode, done.stdout.splitlines()) == (0, lines)


def test_assertion(run: Runner) -> None:
    done = run("device_code", "assertion")
    assert done.returncode == 0
    assert "device assert: n < 100, block(0,0,0) thread(0,0,0)" in done.stderr


def test_race(run: Runner) -> None:
    done = run("device_code", "race", CUDA_EMULATOR_RACE="1")
    assert done.returncode == 0
    assert "shared-memory race" in done.stderr
    _passes(run, "device_code", "unseen_race")


def test_misalignment_and_hang(run: Runner) -> None:
    _passes(run, "device_code", "misalignment")
    _passes(run, "device_code", "hang", CUDA_EMULATOR_MAX_INST="100000")


@pytest.mark.parametrize(("device", "chosen"), [("75", 80), ("80", 80), ("89", 80), ("90", 90), ("120", 90)])
def test_choice_of_ptx(device: str, chosen: int, run: Runner) -> None:
    """The newest PTX that is not newer than the device, else the oldest."""
    assert run("device_code", "choice", CUDA_EMULATOR_CC=device).stdout == f"{chosen}\n"


def test_ptx_that_is_newer_than_the_device(run: Runner) -> None:
    done = run("device_code", "printf", CUDA_EMULATOR_CC="75")
    assert "PTX is for sm_80, newer than the emulated sm_75; set CUDA_EMULATOR_CC" in done.stderr


def test_a_test_that_is_not_there_fails(run: Runner) -> None:
    assert run("runtime", "absent").returncode == 2
