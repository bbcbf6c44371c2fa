"""Load on servers over the network: doubles in this process, whose delays are known."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from http.client import IncompleteRead
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from engine.bench.analysis.points import REMOTE, Engine, Point
from engine.bench.analysis.results import read_results
from engine.bench.load.client import NETWORK, Answer
from engine.bench.load.clock import Clock
from engine.bench.load.generator import ClosedLoop, OpenLoop
from engine.bench.remote.client import RemoteClient, remote_client, with_mean_stages
from engine.bench.remote.connect import connect
from engine.bench.remote.http import TOKEN, Connections, parse_server_timing
from engine.bench.remote.server import RemoteError, RemoteServer, Totals
from engine.bench.report.table import latencies, stage_means, usages
from engine.bench.run import Contestant, Plan, run
from engine.cli import bench_main
from engine.errors import InvalidArgumentError, RetinaFaceError
from tests.support.bench.points import point as simulated
from tests.support.bench.remote import Script, grpc_server, http_server
from tests.support.bench.simulation import PICTURES, AtOnce

Serve = Callable[[Script], AbstractContextManager[str]]
ADDRESSES: list[tuple[Serve, str]] = [
    (http_server, ""),
    (http_server, "/predict"),
    (http_server, "/v2/models/retinaface"),
    (grpc_server, ""),
]


def measured(server: RemoteServer, loads: Sequence[ClosedLoop | OpenLoop]) -> list[Point]:
    contestant = Contestant(
        Engine("it", "url", REMOTE, "a double"),
        0,
        lambda limit, pictures, clock, load: remote_client(server, limit, pictures, clock, load),
    )
    plan = Plan(loads, [1, 8], duration=0.25, decode_threads=1, seed=0)
    return list(run([contestant], PICTURES, plan))


@pytest.mark.parametrize(("serve", "path"), ADDRESSES)
def test_the_network_has_what_the_server_does_not_say(serve: Serve, path: str) -> None:
    script = Script(network_s=0.008, other_s=0.012)
    with serve(script) as url:
        server = connect(url + path)
        points = measured(server, [ClosedLoop(2)])
        server.close()
    # Batch limits are options of engines: a server is measured once.
    assert [point.batch for point in points] == [0]
    (point,) = points
    assert not point.measured.failed
    assert point.accounted == pytest.approx(1, abs=0.03)
    assert point.stages["network"]["mean"] == pytest.approx(8, rel=0.05)  # of statistics that count in whole requests
    assert point.stages[NETWORK]["mean"] >= 12
    assert all(PICTURES[0].content in body for body in script.bodies)
    assert all(text for table in (latencies, usages, stage_means) for row in table([point]).rows for text in row)


def test_a_server_that_says_nothing_is_all_network() -> None:
    with http_server(Script(name="other", timing=False)) as url:
        server = connect(url)
        (point,) = measured(server, [ClosedLoop(1)])
        server.close()
    assert set(point.stages) == {"waiting", NETWORK}
    assert point.mean_batch is None


@pytest.mark.parametrize(
    ("serve", "path", "kind"),
    [*((*each, "refused (503)") for each in ADDRESSES[:3]), (grpc_server, "", "refused (UNAVAILABLE)")],
)
def test_failures_are_counted_by_status(serve: Serve, path: str, kind: str) -> None:
    with serve(Script(refuse=2, network_s=0.001)) as url:
        server = connect(url + path)
        client = RemoteClient(server, PICTURES, Clock(), AtOnce())
        for number in range(4):
            client.send(number, 0.0)
        answers = [client.inbox.get_nowait() for _ in range(4)]
        server.close()
    assert [answer.failure for answer in answers] == [None, kind, None, kind]
    assert [str(answer.error).startswith(f"{kind}: ") for answer in answers[1::2]] == [True, True]
    counted = simulated()
    counted = replace(counted, measured=replace(counted.measured, answers=tuple(answers)))
    assert counted.to_dict()["failures"] == {kind: 2}
    assert counted.to_dict()["failed"] == 2


def test_an_open_loop_does_not_wait_for_answers() -> None:
    # One caller would send 10 in a second.
    with http_server(Script(network_s=0.1)) as url:
        server = connect(url)
        (point,) = measured(server, [OpenLoop(100)])
        server.close()
    assert point.measured.throughput > 20


def test_connections_are_kept() -> None:
    script = Script(network_s=0.001)
    with http_server(script) as url:
        server = connect(url)
        measured(server, [ClosedLoop(3)])
        server.close()
    assert len(script.bodies) > 20
    assert script.connections <= 4  # of three callers, and of the question what the server is


@pytest.mark.parametrize(("serve", "path"), [(http_server, ""), (http_server, "/v2/models/retinaface")])
def test_callers_that_have_ended_leave_no_connections(serve: Serve, path: str) -> None:
    with serve(Script(network_s=0.001)) as url:
        server = connect(url + path)
        before = len(psutil.Process().net_connections())
        measured(server, [ClosedLoop(20), ClosedLoop(20)])
        assert len(psutil.Process().net_connections()) < before + 10
        server.close()


def test_a_server_that_has_gone_loses_no_measurement() -> None:
    with http_server(Script()) as url:
        server = connect(f"{url}/v2/models/retinaface")
        assert server.totals() is not None
    with ThreadPoolExecutor(1) as another:  # which has no connection yet
        assert another.submit(server.totals).result() is None
    server.close()


def test_an_answer_that_is_cut_off_is_none() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        for content in (b"half", b"the whole "):
            connection, _ = listener.accept()
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n" + content)
            connection.close()

    thread = threading.Thread(target=answer)
    thread.start()
    connections = Connections(urlsplit(f"http://127.0.0.1:{listener.getsockname()[1]}"))
    with pytest.raises(IncompleteRead):
        connections.request("GET", "/")
    assert connections.request("GET", "/")[1] == b"the whole "
    thread.join()
    connections.close()
    listener.close()


def test_a_connection_that_the_server_has_closed_is_made_anew() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer_one_each() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            connection.close()

    thread = threading.Thread(target=answer_one_each)
    thread.start()
    connections = Connections(urlsplit(f"http://127.0.0.1:{listener.getsockname()[1]}"))
    assert [connections.request("GET", "/")[1] for _ in range(2)] == [b"ok", b"ok"]
    thread.join()
    listener.close()
    with pytest.raises(ConnectionError):
        connections.request("GET", "/")
    connections.close()


def test_the_token_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "secret")
    assert Connections(urlsplit("http://a"))._headers == {"Authorization": "Bearer secret"}


@pytest.mark.parametrize(
    ("header", "stages", "batch"),
    [
        ('queueing;dur=1.50, undo-letterbox;dur=20, batch;desc="4"', {"queueing": 0.0015, "undo letterbox": 0.02}, 4),
        ("", {}, 0),
        ("a, b;dur=, c;dur=1.2.3, d;dur=-5, e;desc=x, f;dur=2", {"f": 0.002}, 0),
    ],
)
def test_server_timing(header: str, stages: dict[str, float], batch: int) -> None:
    reply = parse_server_timing(header)
    assert reply.stages == pytest.approx(stages)
    assert reply.batch_size == batch


def test_mean_stages_keep_the_latency() -> None:
    good = Answer(0, 1.0, 1.5, {"waiting": 0.1, NETWORK: 0.4}, 0)
    failed = replace(good, number=1, error="x", stages={})
    totals = Totals(10, {"queueing": 1.0, "network": 5.0}), Totals(20, {"queueing": 1.5, "network": 7.0})
    split = with_mean_stages([good, failed], *totals)
    expected = {"waiting": 0.1, "queueing": 0.05, "network": 0.2, NETWORK: 0.15}
    assert split[0].stages == pytest.approx(expected)
    assert split[1] is failed


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("localhost:8000", "expected http://HOST:PORT"),
        ("ftp://localhost", "expected http://HOST:PORT"),
        ("http://localhost:many", "expected http://HOST:PORT"),
        ("http://", "expected http://HOST:PORT"),
        ("http://me:secret@localhost", "a name or a password"),
    ],
)
def test_addresses_that_are_none(url: str, says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        connect(url)


def test_servers_that_cannot_be_measured_are_refused() -> None:
    with http_server(Script()) as url:
        with pytest.raises(InvalidArgumentError, match=r"takes image UINT8 .* expected an input of picture files"):
            connect(f"{url}/v2/models/pixels")
        with pytest.raises(InvalidArgumentError, match="does not describe a model"):
            connect(f"{url}/v2/models/unknown")
    with pytest.raises(RetinaFaceError, match=f"nothing answers at {url}"):
        connect(url)


def test_a_status_is_no_answer() -> None:
    with http_server(Script(refuse=1)) as url:
        server = connect(url)
        with pytest.raises(RemoteError, match=r'refused \(503\): {"error": "too many"}'):
            server.ask(b"picture")
        server.close()


def test_the_command_compares_servers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, output = tmp_path / "photos", tmp_path / "results.json"
    photos.mkdir()
    (photos / "dot.png").write_bytes(PICTURES[0].content)
    with http_server(Script()) as ours, grpc_server(Script(network_s=0.02)) as other:
        command = ["--url", ours, "--url", other, "--concurrency", "2", "--duration", "0.5", "--images", str(photos)]
        assert bench_main([*command, "--output", str(output)]) == 0
    results = read_results(output)
    assert [(point["engine"], point["batch_limit"]) for point in results["points"]] == [(ours, 0), (other, 0)]
    speeds = [point["stages_ms"]["network"]["mean"] for point in results["points"]]
    assert speeds == pytest.approx([4, 20], rel=0.05)
    printed = capsys.readouterr().out
    assert "POST /detect" in printed
    assert "over gRPC" in printed


def test_there_must_be_something_to_measure(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_main([]) == 2
    assert "give an --engine or a --url" in capsys.readouterr().err
    assert bench_main(["--url", "http://a", "--url", "http://a"]) == 2
    assert "given twice" in capsys.readouterr().err
