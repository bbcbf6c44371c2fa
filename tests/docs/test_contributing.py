"""CONTRIBUTING.md: its recipes name files that exist, leave out none, and work when they are followed."""

from __future__ import annotations

import argparse
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import pytest
import torch
from torch import nn

from engine.cli import detect
from engine.config import formats
from engine.config.backbones import BACKBONES, Backbone
from engine.config.model import PyramidLevel, RetinaFaceConfig
from engine.config.presets import preset
from engine.errors import BuildError, InvalidArgumentError
from engine.model.retinaface import RetinaFace
from engine.precision.qdq.simulate import fake_quantise
from tests.docs.pages import ROOT, command_line

OPERATORS = ("align", "anchor_decode", "batched_nms", "deform_conv", "letterbox")
# What the recipe's files are called for operators that are named differently there.
OTHER_NAMES = {"anchor_decode": "decode", "batched_nms": "nms"}


def recipe(title: str) -> str:
    """The text of a recipe."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return re.split(r"^##", text.split(f"### {title}\n")[1], flags=re.MULTILINE)[0]


def paths(title: str) -> list[str]:
    """The files and folders that a recipe names."""
    return re.findall(r"`([\w./-]+/[\w./-]+|[A-Z]\w+\.\w+)`", recipe(title))


def mentions(name: str, *folders: str) -> set[str]:
    """The tracked source files in these folders that mention a name, or have it in their path."""
    word = f"(^|[^A-Za-z]){name}([^A-Za-z]|$)"  # memory is aligned, too
    command = ["git", "grep", "-lE", "--untracked", word, "--", *folders, ":!*.md"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode > 1:
        pytest.skip(f"git does not know these sources: {done.stderr}")
    return set(done.stdout.splitlines())


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Add an operator", "deform_conv"),
        ("Add a backbone", "resnet"),
        ("Add a precision", "bf16"),
        ("Add an option of the command line", ""),
    ],
)
def test_every_file_of_a_recipe_exists(title: str, name: str) -> None:
    named = [path.replace("NAME", name) for path in paths(title)]
    assert len(named) >= 5
    assert not [path for path in named if not (ROOT / path).exists()]


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_recipe_of_an_operator_names_every_source_that_knows_it(operator: str) -> None:
    listed = {path.replace("NAME", operator) for path in paths("Add an operator")}
    listed |= {path.replace("NAME", OTHER_NAMES.get(operator, operator)) for path in paths("Add an operator")}
    sources = mentions(operator, "CMakeLists.txt", "csrc", "plugins", "tests/csrc/launchers", "tests/csrc/mutants")
    sources -= {f"tests/csrc/mutants/{name}.py" for name in ("__main__", "test_mutants")}  # they give one as an example
    own = {path for path in sources if path.startswith(f"csrc/ops/cuda/{operator}/")}
    unnamed = {path for path in sources - own - listed if not _is_about_another(path, operator)}
    assert len(own) >= 1
    assert len(sources) > 8
    assert not unnamed


def _is_about_another(path: str, operator: str) -> bool:
    """Whether a file belongs to another operator, whose comments or tests may speak of this one."""
    others = [name for name in (*OPERATORS, "unletterbox") if name != operator]
    return any(re.search(rf"(^|[/_]){name}([._/]|_plugin)", path) for name in others)


def test_the_shared_files_of_the_recipe_of_an_operator_know_the_example() -> None:
    shared = [path for path in paths("Add an operator") if "NAME" not in path and (ROOT / path).is_file()]
    assert len(shared) > 10
    for path in shared:
        if not path.endswith("export/attach.py"):  # or a PyTorch module: deform_conv took that way
            assert re.search("deform_?conv", (ROOT / path).read_text(), re.IGNORECASE), path


class ToyBody(nn.Module):
    """A backbone as in step 1: average pooling, and a convolution for each of three feature maps."""

    def __init__(self, config: RetinaFaceConfig) -> None:
        super().__init__()
        self.out_channels = (8, 12, 20)
        self.maps = nn.ModuleList(nn.Conv2d(3, channels, 1) for channels in self.out_channels)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return features of strides 8, 16 and 32."""
        pooled = [nn.functional.avg_pool2d(images, stride) for stride in (8, 16, 32)]
        return [convolve(x) for convolve, x in zip(self.maps, pooled, strict=True)]


def test_a_backbone_needs_a_module_and_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps 1 to 3."""
    with pytest.raises(InvalidArgumentError, match="backbone is 'toy', expected mobilenet"):
        replace(preset("mobilenet0.25"), backbone="toy")
    monkeypatch.setitem(BACKBONES, "toy", Backbone(f"{__name__}:ToyBody", (8, 16, 32)))
    levels = tuple(PyramidLevel(stride, (16.0, 32.0)) for stride in (8, 16, 32, 64))
    config = replace(preset("mobilenet0.25"), name="toy", backbone="toy", levels=levels)
    with torch.no_grad():
        heads = RetinaFace(config).eval()(torch.zeros(2, 3, 96, 160))
    expected = [
        (2, 2 * values, -(-96 // stride), -(-160 // stride)) for stride in (8, 16, 32, 64) for values in (2, 4, 10)
    ]
    assert [tuple(head.shape) for head in heads] == expected
    with pytest.raises(InvalidArgumentError, match="levels"):
        replace(config, levels=tuple(PyramidLevel(stride, (16.0,)) for stride in (4, 8, 16, 32)))


def test_a_number_format_is_one_value() -> None:
    """Step 1, for FP8 with five bits of exponent: the simulation of quantisation takes it as it takes INT8."""
    e5m2 = formats.NumberFormat("e5m2", "FLOAT8E5M2", "float8_e5m2", -57344.0, 57344.0, quantised=True)
    x = torch.randn(4000, generator=torch.Generator().manual_seed(3)) * 2.0 ** torch.arange(-20, 20).repeat(100)
    scale = torch.tensor(0.25)
    given = fake_quantise(x, scale, e5m2)
    ratio = (x / scale).clamp(-57344, 57344).numpy()
    expected = torch.from_numpy(ratio.astype(ml_dtypes.float8_e5m2).astype("float32")) * scale
    assert torch.equal(given, expected)


def _with_toy_option(add: object) -> object:
    assert callable(add)

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        add(parser)
        parser.add_argument("--toy-ms", type=int, default=3, help="of this test (default %(default)s)")

    return add_arguments


def test_an_option_of_the_command_line_reaches_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Steps 2 and 3: declared in add_arguments, passed on by run; errors become one line and an exit code."""
    seen: list[int] = []

    def run(arguments: argparse.Namespace) -> int:
        seen.append(arguments.toy_ms)
        if arguments.toy_ms < 0:
            raise InvalidArgumentError(f"toy_ms is {arguments.toy_ms}, expected 0 or more")
        if arguments.toy_ms > 9:
            raise BuildError("too slow")
        return 0

    monkeypatch.setattr(detect, "add_arguments", _with_toy_option(detect.add_arguments))
    monkeypatch.setattr(detect, "run", run)
    arguments = ["detect", "--engine", "x.engine", "photo.jpg"]
    assert command_line.main(arguments) == 0
    assert command_line.main([*arguments, "--toy-ms", "7"]) == 0
    assert command_line.main([*arguments, "--toy-ms", "-1"]) == 2
    assert command_line.main([*arguments, "--toy-ms", "10"]) == 1
    assert seen == [3, 7, -1, 10]
    assert capsys.readouterr().err == (
        "retinaface-trt: error: toy_ms is -1, expected 0 or more\nretinaface-trt: error: too slow\n"
    )


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _parsers(child)


def test_every_option_is_kebab_case_and_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[argparse.ArgumentParser] = []
    parse = argparse.ArgumentParser.parse_args

    def parse_args(parser: argparse.ArgumentParser, *arguments: object) -> argparse.Namespace:
        made.append(parser)
        return parse(parser, ["doctor"])

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    monkeypatch.setattr(command_line, "run_command", lambda parsed, prog: 0)
    command_line.main()
    actions = [action for parser in _parsers(made[0]) for action in parser._actions]
    options = [option for action in actions for option in action.option_strings if option != "-h"]
    assert len(options) > 60
    assert not [option for option in options if not re.fullmatch(r"--[a-z0-9]+(-[a-z0-9]+)*", option)]
    assert not [action.option_strings for action in actions if action.option_strings and not action.help]


def test_hooks_run_what_is_installed_and_download_nothing() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    programs = re.findall(r"entry: (\S+)", text)
    assert sorted(set(programs)) == ["clang-format", "ruff"]
    assert text.count("language: system") == len(programs)
    assert re.findall(r"repo: (.+)", text) == ["local"]
    pinned = (ROOT / "constraints.txt").read_text()
    assert all(re.search(rf"^{program}==", pinned, re.MULTILINE) for program in programs)


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.name
)
def test_issue_forms_ask_for_what_the_doctor_prints(form: Path) -> None:
    assert "`retinaface-trt doctor --json`" in form.read_text()
    check = command_line.main
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_line, "run_command", lambda parsed, prog: int(not parsed.json))
        assert check(["doctor", "--json"]) == 0
