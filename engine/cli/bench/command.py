"""`retinaface-trt bench` and serve_bench.py: measure the speed of engines under load."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from engine.cli.arguments import add_device_options, check_outputs, name_engines, require_packages
from engine.cli.bench.contestants import engine_contestants, open_engine, remote_contestants
from engine.cli.bench.results import print_results, write_results
from engine.cli.terminal import as_markup
from engine.errors import InvalidArgumentError

if TYPE_CHECKING:
    from engine.bench.analysis.points import Engine, Point
    from engine.bench.load.workload import Workload
    from engine.bench.run import Contestant, Plan
    from engine.detector import TRTRetinaFace

T = TypeVar("T")

SUMMARY = "measure throughput and latency of engines under load"
_CONCURRENCY = "1,4,16"
_NAME = "serve_bench"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--engine", type=Path, default=[], action="append", metavar="FILE", help="engine to measure, repeatable")
    add("--url", default=[], action="append", metavar="URL",
        help="server to measure, repeatable: http://HOST:PORT or grpc://HOST:PORT, `retinaface-trt serve` or a server "
        "of the Open Inference Protocol, such as Triton")  # fmt: skip
    add_device_options(parser)
    add("--threads", type=int, metavar="N", help="CPU threads of an engine on the CPU (default: all cores)")
    add("--no-cuda-graphs", action="store_true",
        help="on a GPU, launch kernels one by one: the difference is the cost of enqueueing")  # fmt: skip
    load = parser.add_argument_group("load")
    add = load.add_argument
    add("--concurrency", metavar="N,...",
        help=f"closed loop: number of requests in flight (default {_CONCURRENCY} without --rate)")  # fmt: skip
    add("--rate", metavar="R,...", help="open loop: requests per second, with Poisson arrivals")
    add("--batch", metavar="N,...", help="largest batch to run (default: the engine's maximum)")
    add("--max-delay-ms", type=float, default=2.0, metavar="MS",
        help="longest time that an image waits for its batch to fill (default %(default)s)")  # fmt: skip
    add("--contexts", type=int, default=1, metavar="N", help="number of batches that run concurrently (default 1)")
    add("--decode-threads", type=int, metavar="N", help="threads that decode picture files (default: one per core)")
    add("--duration", type=float, default=10.0, metavar="S",
        help="seconds of steady state to measure under each load (default %(default)s)")  # fmt: skip
    add("--images", type=Path, metavar="DIR", help="folder of pictures to send (default: generated, of mixed sizes)")
    add("--seed", type=int, default=0, metavar="S", help="for arrivals and generated pictures (default %(default)s)")
    accuracy = parser.add_argument_group("accuracy")
    add = accuracy.add_argument
    add("--labels", type=Path, metavar="FILE",
        help="labelled faces of --images, in JSON lines as `retinaface-trt detect` prints them")  # fmt: skip
    add("--reference", type=Path, metavar="FILE", help="engine whose faces the others should find, such as one in fp32")
    result = parser.add_argument_group("result")
    add = result.add_argument
    add("--output", type=Path, metavar="PATH",
        help=f"folder for {_NAME}.json and {_NAME}.html, or the name of one file of either kind")  # fmt: skip
    add("--compare", type=Path, metavar="FILE", help="JSON file of an earlier run: print speed-ups over it")
    add("--fail-below", type=float, metavar="RATIO",
        help="with --compare: fail if a whole 95 %% interval of a speed-up lies below RATIO")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Measure, print tables and write the files; return 1 if requests failed or a speed-up is below --fail-below."""
    require_packages("scipy", "psutil", "matplotlib")
    if not arguments.engine and not arguments.url:
        raise InvalidArgumentError("there is nothing to measure: give an --engine or a --url")
    outputs = _outputs(arguments.output)
    check_outputs(list(outputs.values()))
    plan = _plan(arguments)
    old = _earlier(arguments)

    import psutil

    from engine.bench.analysis.compare import compare
    from engine.bench.analysis.environment import environment
    from engine.bench.analysis.results import Results
    from engine.bench.analysis.verdicts import verdicts
    from engine.bench.run import check_memory

    with ExitStack() as stack:
        servers = remote_contestants(arguments.url, stack)
        paths = name_engines(arguments.engine)
        opened = partial(open_engine, arguments, stack)
        detectors = {name: opened(path) for name, path in paths.items()}
        reference = None if arguments.reference is None else opened(arguments.reference)
        contestants = [*engine_contestants(arguments, detectors, paths, plan.decode_threads), *servers]
        _check_comparable(contestants, plan, old)
        workload = _workload(arguments)
        check_memory(plan, workload.pictures, psutil.virtual_memory().available)
        progress = stack.enter_context(_progress())
        engines = _with_accuracy(arguments, contestants, detectors, reference, workload, progress)
        points = _measure(contestants, plan, workload, progress)
    results = Results(environment(), _settings(arguments), workload.to_dict(), engines, points, verdicts(points))
    write_results(results, None, None, outputs)  # before comparing: the measurements must not be lost
    comparison = None if old is None else compare(results.to_dict(), old)
    print_results(results, comparison, arguments.fail_below)
    if comparison is not None:
        write_results(results, comparison, arguments.fail_below, outputs)
    slower = [] if comparison is None or arguments.fail_below is None else comparison.regressions(arguments.fail_below)
    failed = any(point.measured.failed or not point.measured.good for point in points)
    return 1 if slower or failed else 0


def _plan(arguments: argparse.Namespace) -> Plan:
    from engine.bench.load.generator import ClosedLoop, OpenLoop
    from engine.bench.run import Plan
    from engine.threads import available_threads

    concurrency = arguments.concurrency
    if concurrency is None and arguments.rate is None:
        concurrency = _CONCURRENCY
    if not 0 <= arguments.max_delay_ms < float("inf"):
        raise InvalidArgumentError(f"--max-delay-ms is {arguments.max_delay_ms}, expected milliseconds from 0")
    if arguments.contexts < 1:
        raise InvalidArgumentError(f"--contexts is {arguments.contexts}, expected 1 or more")
    closed = map(ClosedLoop, _numbers("--concurrency", concurrency, int))
    opened = map(OpenLoop, _numbers("--rate", arguments.rate, float))
    batches: list[int | None] = [*_numbers("--batch", arguments.batch, int)] or [None]
    threads = available_threads() if arguments.decode_threads is None else arguments.decode_threads
    return Plan((*closed, *opened), batches, arguments.duration, threads, arguments.seed)


def _numbers(option: str, text: str | None, kind: Callable[[str], T]) -> list[T]:
    try:
        return [] if text is None else [kind(part) for part in text.split(",")]
    except ValueError:
        raise InvalidArgumentError(f"{option} is {text!r}, expected numbers separated by commas") from None


def _earlier(arguments: argparse.Namespace) -> dict[str, Any] | None:
    from engine.bench.analysis.results import read_results

    if arguments.fail_below is not None:
        if arguments.compare is None:
            raise InvalidArgumentError("--fail-below needs --compare")
        if not 0 < arguments.fail_below < float("inf"):
            raise InvalidArgumentError(
                f"--fail-below is {arguments.fail_below}, expected a number above 0, such as 0.95"
            )
    return None if arguments.compare is None else read_results(arguments.compare)


def _outputs(path: Path | None) -> dict[str, Path]:
    """Return the path of each file to write, by its kind."""
    if path is None:
        return {}
    if path.suffix in (".json", ".html") and not path.is_dir():
        return {path.suffix[1:]: path}
    return {kind: path / f"{_NAME}.{kind}" for kind in ("json", "html")}


def _check_comparable(contestants: Sequence[Contestant], plan: Plan, old: dict[str, Any] | None) -> None:
    from engine.bench.analysis.compare import pairs
    from engine.bench.run import points_of

    planned = [
        {"engine": entry.engine.name, "load": {"kind": load.kind, "value": load.value}, "batch_limit": limit}
        for entry, load, limit in points_of(contestants, plan)
    ]
    if old is not None:
        pairs(planned, old)


def _workload(arguments: argparse.Namespace) -> Workload:
    from engine.bench.load.workload import GENERATED, from_folder, generated
    from engine.pictures.labels import read_labels

    if arguments.images is not None:
        labels = None if arguments.labels is None else read_labels(arguments.labels)
        return from_folder(arguments.images, labels, arguments.seed)
    if arguments.labels is not None:
        raise InvalidArgumentError("--labels needs --images: the folder of the labelled pictures")
    with _progress() as progress:
        task = progress.add_task("Making pictures", total=GENERATED)
        return generated(arguments.seed, lambda: progress.advance(task))


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _with_accuracy(
    arguments: argparse.Namespace,
    contestants: Sequence[Contestant],
    detectors: dict[str, TRTRetinaFace],
    reference: TRTRetinaFace | None,
    workload: Workload,
    progress: Progress,
) -> tuple[Engine, ...]:
    from dataclasses import replace

    from engine.bench.analysis.accuracy import accuracy

    engines = tuple(contestant.engine for contestant in contestants)
    if not detectors or (reference is None and arguments.labels is None):
        return engines
    everybody = [*detectors.values(), *([] if reference is None else [reference])]
    floor = max(detector.sidecar.thresholds.score for detector in everybody)
    task = progress.add_task("Comparing faces", total=len(workload.pictures))
    measured = accuracy(detectors, reference, workload.pictures, floor=floor, on_picture=lambda: progress.advance(task))
    return tuple(replace(engine, accuracy=measured.get(engine.name)) for engine in engines)


def _measure(
    contestants: Sequence[Contestant], plan: Plan, workload: Workload, progress: Progress
) -> tuple[Point, ...]:
    from engine.bench.load.generator import Load
    from engine.bench.load.windows import Window
    from engine.bench.run import points_of, run

    task = progress.add_task("Measuring", total=len(points_of(contestants, plan)))
    now = ""

    def on_point(engine: Engine, load: Load, batch: int) -> None:
        nonlocal now
        now = f"{as_markup(engine.name)}, {load.label()}{f', batch up to {batch}' if batch else ''}"
        progress.update(task, description=f"{now}: warming up")

    def on_window(window: Window) -> None:
        progress.update(task, description=f"{now}: {window.throughput:.1f} images/s, {window.waiting} waiting")

    points = []
    for point in run(contestants, workload.pictures, plan, on_point=on_point, on_window=on_window):
        points.append(point)
        progress.advance(task)
    return tuple(points)


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    hidden = {"run", "verbose"}
    return {
        name: str(value) if isinstance(value, Path) else [str(path) for path in value] if name == "engine" else value
        for name, value in vars(arguments).items()
        if name not in hidden
    }
