"""The page at `/`, in a browser: real clicks, a real upload, a fake camera."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from engine import TRTRetinaFace
from engine.images import decode_image
from tests.integration.serve.service import Served

pytestmark = pytest.mark.browser
_FAKE_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture
def page(served: Served, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page as a phone shows it. Errors of its script fail the test, and so do requests to other servers."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which(request.config.getoption("--browser")), args=["--no-sandbox", *_FAKE_CAMERA]
        )
        page = browser.new_page(viewport={"width": 390, "height": 800})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda asked: errors.append(asked.url) if not _is_local(asked.url, served) else None)
        page.goto(served.url)
        expect(page.locator("#model")).to_contain_text("mobilenet0.25, fp32")
        yield page
        browser.close()
        assert errors == []


def _is_local(url: str, served: Served) -> bool:
    return url.startswith((served.url, "data:", "blob:"))


def test_pictures_are_shown_with_their_faces(
    page: Page, alone: TRTRetinaFace, pictures: list[bytes], tmp_path: Path
) -> None:
    names = ["one.png", "two.jpg"]
    for name, picture in zip(names, pictures, strict=False):
        (tmp_path / name).write_bytes(picture)
    page.set_input_files("#files", [tmp_path / name for name in names])
    expect(page.locator("#status")).to_have_text("2 pictures done.")
    for index, threshold in ((0, 0.5), (30, 0.2)):
        for _ in range(index):
            page.locator("#threshold").press("ArrowLeft")  # by 0.01, as the keyboard does
        expect(page.locator("#threshold-value")).to_have_text(f"{threshold:.2f}")
        for name, picture in zip(names, pictures, strict=False):
            count = len(alone.detect(picture, score_threshold=threshold))
            result = page.locator("#results li", has_text=name)
            expect(result.locator(".count")).to_have_text("1 face" if count == 1 else f"{count} faces")
            label = f"{name}: {result.locator('.count').inner_text()}"
            expect(result.locator("canvas")).to_have_attribute("aria-label", label)
            expect(result.locator(".timing")).to_contain_text("batch of 1")
    # Boxes are drawn in this colour, where the face is.
    left, top, right, _ = alone.detect(pictures[0]).boxes[0]
    canvas = page.locator("#results li", has_text="one.png").locator("canvas")
    read = "(canvas, [x, y]) => [...canvas.getContext('2d').getImageData(x, y, 1, 1).data]"
    pixel = canvas.evaluate(read, [round(float(left + right) / 2), round(float(top))])
    np.testing.assert_allclose(pixel, [0, 230, 118, 255], atol=16)  # the line's edge is blended with the picture
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_meshes_are_drawn_where_they_face_the_camera(page: Page, pictures: list[bytes], tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(pictures[0])
    # A square of two triangles; of the second one the back is seen, so that its two outer edges are not drawn.
    corners = [[20.5, 20.5, 0], [20.5, 60.5, 0], [60.5, 60.5, 0], [60.5, 20.5, 0]]  # the middles of pixels
    face = {"box": [1, 1, 2, 2], "score": 0.9, "vertices": corners}
    answer = {"faces": [face, {"box": [1, 1, 2, 2], "score": 0.8}], "triangles": [[0, 1, 2], [0, 3, 2]]}
    page.route("**/detect?*", lambda route: route.fulfill(json=answer))
    page.set_input_files("#files", tmp_path / "one.png")
    expect(page.locator("#status")).to_have_text("Done.")
    canvas = page.locator("#results canvas")
    read = "(canvas, [x, y]) => [...canvas.getContext('2d').getImageData(x, y, 1, 1).data]"
    plain = decode_image(pictures[0])
    for place in ([20, 40], [40, 60], [40, 40]):
        np.testing.assert_allclose(canvas.evaluate(read, place)[:3], [140, 220, 235], atol=16)
    for x, y in ([40, 20], [60, 40]):
        assert canvas.evaluate(read, [x, y])[:3] == plain[y, x, ::-1].tolist()


def test_a_file_that_is_no_picture_is_named(page: Page, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_bytes(b"no picture")
    with page.expect_response(lambda response: response.status == 400):
        page.set_input_files("#files", tmp_path / "no.png")
    expect(page.locator("#status")).to_contain_text("no.png: ")
    expect(page.locator("#status")).to_contain_text("not a picture")
    expect(page.locator("#results li")).to_have_count(0)


def test_the_camera_is_watched_until_it_is_stopped(page: Page) -> None:
    page.locator("#camera").press("Enter")
    expect(page.locator("#camera")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#results li .timing")).to_contain_text("batch of")
    page.click("#camera")
    expect(page.locator("#camera")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#status")).to_have_text("The camera is off.")
