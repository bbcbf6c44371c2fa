"""RetinaFaceConfig: presets, refused values, JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from engine.config.heads import ValueHead
from engine.config.model import PyramidLevel, RetinaFaceConfig
from engine.config.presets import PRESETS, preset
from engine.errors import InvalidArgumentError


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name: str) -> None:
    config = preset(name)
    assert RetinaFaceConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_the_look_alike_differs_in_activation_and_anchors() -> None:
    upstream, look_alike = preset("mobilenet0.25"), preset("mobilenet0.25-relu")
    assert (upstream.negative_slope, look_alike.negative_slope) == (0.1, 0.0)
    assert [level.anchor_sizes for level in look_alike.levels] == [(10, 20), (32, 64), (128, 256)]
    same = replace(look_alike, name=upstream.name, negative_slope=0.1, levels=upstream.levels)
    assert same == upstream


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(InvalidArgumentError, match=r"'resnet51'.*mobilenet0.25, mobilenet0.25-relu, .*resnet50"):
        preset("resnet51")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"backbone": "vgg"}, "backbone"),
        ({"levels": ()}, "levels"),
        ({"levels": (PyramidLevel(0, (16.0,)),)}, "strides"),
        ({"levels": (PyramidLevel(8, ()),)}, "sizes"),
        ({"levels": (PyramidLevel(8, (float("nan"),)),)}, "sizes"),
        ({"levels": (PyramidLevel(8, (16.0,), (0.0,)),)}, "aspect ratios above 0"),
        ({"levels": (PyramidLevel(8, (16.0, 20.0, 25.0), (0.5, 1.0, 2.0)),)}, "levels is 9, expected 1 to 8 anchors"),
        ({"levels": preset("full").levels[2:]}, "levels is .16, 32, 64., expected strides .8, 16, 32. or"),
        ({"context": "wide"}, "context is 'wide', expected none or plain or shared or deformable"),
        ({"pyramid": "flat"}, "pyramid is 'flat', expected top-down or neighbours"),
        ({"input_size": (640, 650)}, "input_size is .640, 650., expected two multiples of 32"),
        ({"fpn_channels": 3}, "fpn_channels"),
        ({"negative_slope": -0.1}, "negative_slope"),
        ({"body_slope": 1.0}, "body_slope is 1.0, expected null or 0 <= slope < 1"),
        ({"variances": (0.0, 0.2)}, "variances"),
        ({"std": (1.0, 0.0, 1.0)}, "std"),
        ({"color_order": "grb"}, "color_order"),
        ({"pad_value": (0, 0, 256)}, "pad_value"),
        ({"heads": ("class",)}, "heads"),
        ({"classes": ()}, "classes is .*, expected 1 to 255 different names"),
        ({"classes": ("a", "a")}, "classes is .'a', 'a'., expected"),
        ({"classes": tuple(map(str, range(256)))}, "classes"),
        (
            {"classes": tuple(map(str, range(250)))},
            "has 4200000 pairs of an anchor and a class, expected at most 4194304",
        ),
        ({"class_coding": "both"}, "class_coding is 'both', expected softmax or sigmoid"),
        ({"mirrored_points": (0, 2)}, "mirrored_points is .0, 2., expected for each of 1 to 128 points"),
        ({"mirrored_points": (1, 2, 0)}, "mirrored_points"),
        ({"mirrored_points": ()}, "mirrored_points"),
        ({"mirrored_points": tuple(range(129))}, "mirrored_points"),
        ({"mirrored_points": (0,), "heads": ("class", "box")}, "no such setting, as there is no"),
        ({"values": (ValueHead("scores", 1),)}, "values is .'scores'., expected different names of small letters"),
        ({"values": (ValueHead("num_faces", 1),)}, "none of them that of another tensor"),
        ({"values": (ValueHead("sizes", 1),)}, "none of them that of another tensor"),
        ({"values": (ValueHead("class_name", 1),)}, "none of them that of another tensor"),
        ({"values": (ValueHead("candidate_boxes", 1),)}, "none of them that of another tensor"),
        ({"values": (ValueHead("payload_sizes", 1),)}, "none of them that of another tensor"),
        ({"values": (ValueHead("logits_8", 1),)}, "values is .'logits_8'., expected names that are not those"),
        ({"values": (ValueHead("age", 1), ValueHead("age_16", 1))}, "values is .'age_16'., expected names that"),
        ({"class_agnostic": True}, "class_agnostic is True, expected false, as there is one class"),
        ({"values": (ValueHead("a", 1), ValueHead("a", 2))}, "values is .'a', 'a'."),
        ({"values": (ValueHead("A", 1),)}, "values"),
        ({"values": (ValueHead("a", 0),)}, "values is .0., expected up to 8 heads of 1 or more values"),
        (
            {"values": (ValueHead("a", 2), ValueHead("b", 4, "deltas"))},
            "coding of values is .'plain', 'deltas'., expected",
        ),
        (
            {"values": (ValueHead("a", 3), ValueHead("b", 5, "points"))},
            "size of values that are points is .5., expected",
        ),
        ({"values": (ValueHead("a", 1015),)}, "with the points up to 1024 numbers"),
        ({"values": tuple(ValueHead(f"a{i}", 1) for i in range(9))}, "values"),
    ],
)
def test_impossible_settings_are_refused_by_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidArgumentError, match=named):
        replace(preset("mobilenet0.25"), **change)


def test_heads_beyond_the_published_ones_come_back_from_json() -> None:
    published = preset("mobilenet0.25")
    own = replace(
        published,
        classes=("mask", "bare"),
        class_coding="sigmoid",
        class_agnostic=True,
        mirrored_points=(1, 0, 2),
        values=(ValueHead("age", 1), ValueHead("pose", 3)),
    )
    assert RetinaFaceConfig.from_dict(json.loads(json.dumps(own.to_dict()))) == own
    assert own.to_dict().keys() - published.to_dict().keys() == {
        *("classes", "class_coding", "class_agnostic", "mirrored_points", "values")
    }
    assert [own.head_values(kind) for kind in own.head_kinds()] == [2, 4, 6, 1, 3]
    assert own.head_names()[3:5] == ["age_8", "pose_8"]
    assert (own.num_classes, own.num_points, own.payload_size) == (3, 3, 10)
    payload = np.arange(20).reshape(2, 10)
    landmarks, values = own.split_payload(payload)
    assert landmarks.tolist() == payload[:, :6].tolist()
    assert {name: array.tolist() for name, array in values.items()} == {
        **{"age": [[6], [16]], "pose": [[7, 8, 9], [17, 18, 19]]}
    }


def test_the_coding_of_values_is_left_out_where_it_is_plain() -> None:
    """So files, their digests and the keys of caches stay what they were."""
    heads = ValueHead("pose", 3), ValueHead("ears", 4, "points")
    own = replace(preset("mobilenet0.25"), values=heads)
    written = json.loads(json.dumps(own.to_dict()))
    assert written["values"] == [{"name": "pose", "size": 3}, {"name": "ears", "size": 4, "coding": "points"}]
    assert RetinaFaceConfig.from_dict(written) == own
    assert own.decode_arguments()["value_points"] == (False, True)
    with pytest.raises(InvalidArgumentError, match=r"config.values\[0\].coding is 1, expected a string"):
        RetinaFaceConfig.from_dict({**written, "values": [{"name": "pose", "size": 3, "coding": 1}]})


def test_slopes_in_the_body_and_behind_it() -> None:
    assert preset("mobilenet0.25").slopes == (0.1, 0.1)
    assert preset("mobilenet0.5").slopes == (0.1, 0.0)
    assert preset("mobilenetv2").slopes == (0.0, 0.0)
    assert preset("resnet18-lite").slopes == (0.0, 0.1)  # a ResNet's are no setting
    assert replace(preset("mobilenet0.25"), body_slope=0.0).slopes == (0.0, 0.1)


def test_unknown_and_missing_keys_are_named() -> None:
    values = asdict(preset("mobilenet0.25"))
    values["colour"] = values.pop("color_order")
    with pytest.raises(InvalidArgumentError, match=r"unknown keys \['colour'\] and lacks \['color_order'\]"):
        RetinaFaceConfig.from_dict(values)


@pytest.mark.parametrize(("height", "width"), [(650, 640), (640, 16), (0, 640), (640, -32)])
def test_input_sizes_are_multiples_of_the_largest_stride(height: int, width: int) -> None:
    with pytest.raises(InvalidArgumentError, match="multiple of 32"):
        preset("mobilenet0.25").check_input_size(height, width)
    preset("mobilenet0.25").check_input_size(352, 64)


def test_head_names_follow_the_levels() -> None:
    config = preset("mobilenet0.25")
    assert config.head_names()[:4] == ["logits_8", "box_deltas_8", "landmark_deltas_8", "logits_16"]
    assert replace(config, heads=("class", "box")).head_names()[:3] == ["logits_8", "box_deltas_8", "logits_16"]
