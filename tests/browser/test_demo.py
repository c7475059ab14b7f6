"""`asymtrack demo` in headless Chromium: from a video that is uploaded to boxes that are saved."""

import contextlib
import csv
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.data.synthetic import render_clip
from asymtrack_jax.models import checkpoint
from asymtrack_jax.video.writers import open_writer

pytest.importorskip("gradio", reason="needs the extra [demo]")
playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra [browser-test]")
CHROMIUM = shutil.which("chromium") or pytest.skip("needs Chromium", allow_module_level=True)
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-ui-for-media-stream",  # a camera that needs no permission,
    "--use-fake-device-for-media-stream",  # and shows a moving disc
)
SIZE = (120, 160)
PATIENCE = 60_000  # milliseconds


@pytest.fixture(scope="module")
def address(tmp_path_factory, variables) -> Iterator[str]:
    """Of a server with random weights."""
    weights = tmp_path_factory.mktemp("saved") / "testing"
    checkpoint.save(weights, VARIANTS["testing"], variables, {})
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = str(listener.getsockname()[1])
    command = [sys.executable, "-m", "asymtrack_jax", "demo", "--checkpoint", str(weights)]
    command = [*command, "--port", port]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        assert f"http://127.0.0.1:{port}" in server.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()  # a process in the background may ignore SIGINT
        server.communicate(timeout=30)


@pytest.fixture
def page(address) -> Iterator:
    """The page, once it shows the rendered clip; nothing else may be asked for."""
    elsewhere = []

    def note(request) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            elsewhere.append(request.url)

    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_page(viewport={"width": 1200, "height": 760}, accept_downloads=True)
        page.set_default_timeout(PATIENCE)
        page.on("request", note)
        page.goto(address)
        page.wait_for_selector("#picture img")
        yield page
        browser.close()
    assert not elsewhere


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    with open_writer(path, 25) as writer:
        for frame in render_clip(12, SIZE):
            writer.write(frame)
    return path


def shown(page, condition: str, value: object = None) -> list[int]:
    """Waits for the picture, loaded and meeting a condition on `image`; its height and width."""
    find = "const image = document.querySelector('#picture img')"
    size = "[image.naturalHeight, image.naturalWidth]"
    loaded = "image?.complete && image.naturalWidth"
    script = f"value => {{ {find}; return {loaded} && {condition} && {size} }}"
    handle = page.wait_for_function(script, arg=value)
    return handle.json_value()


def click(page, x: float, y: float) -> None:
    """Clicks a pixel of the frame, and waits until the picture is another one."""
    height, width = shown(page, "true")
    picture = page.locator("#picture img")
    box, source = picture.bounding_box(), picture.get_attribute("src")
    scale = min(box["width"] / width, box["height"] / height)
    left, top = (box["width"] - scale * width) / 2, (box["height"] - scale * height) / 2
    picture.click(position={"x": left + scale * (x + 0.5), "y": top + scale * (y + 0.5)})
    shown(page, "image.getAttribute('src') !== value", source)


def download(page, name: str, path: Path) -> Path:
    button = page.locator(f"text={name}").first
    page.wait_for_function(
        "name => [...document.querySelectorAll('a, button')].some("
        "each => each.textContent.includes(name) && !each.disabled && "
        "!each.classList.contains('disabled'))",
        arg=name,
    )
    with page.expect_download() as started:
        button.click()
    started.value.save_as(path)
    return path


def test_two_targets_of_an_uploaded_video_are_tracked_and_saved(page, video, tmp_path):
    page.get_by_role("tab", name="Video file").click()
    page.locator("input[type=file]").first.set_input_files(video)
    shown(page, "image.naturalHeight === value", SIZE[0])
    drawn = np.array([[20, 30, 50, 40], [90, 50, 40, 60]])
    for x, y, w, h in drawn.tolist():
        click(page, x + w, y)  # any two opposite corners
        click(page, x, y + h)
    page.get_by_role("button", name="Track").click()
    path = download(page, "Download boxes", tmp_path / "boxes.csv")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["target"]) for row in rows] == [
        (str(frame), str(target)) for frame in range(12) for target in range(2)
    ]
    first = np.array([[float(row[name]) for name in "xywh"] for row in rows[:2]])
    np.testing.assert_allclose(
        first, drawn, rtol=0, atol=1.5
    )  # pixels of the screen are not the frame's
    assert "Frame 11" in page.inner_text("#status")
    assert download(page, "Download video", tmp_path / "video.mp4").stat().st_size > 1000


def test_a_newly_opened_clip_ends_the_tracking_of_the_last_one(page, tmp_path):
    with open_writer(tmp_path / "long.mp4", 25) as writer:
        for _ in range(3000):
            writer.write(np.zeros((*SIZE, 3), np.uint8))
    page.get_by_role("tab", name="Video file").click()
    page.locator("input[type=file]").first.set_input_files(tmp_path / "long.mp4")
    shown(page, "image.naturalHeight === value", SIZE[0])
    click(page, 20, 20)
    click(page, 60, 60)
    page.get_by_role("button", name="Track").click()
    page.wait_for_function("document.querySelector('#status').innerText.includes('Frame')")
    page.get_by_role("tab", name="Rendered clip").click()
    page.get_by_label("Seed").press("Enter")
    shown(page, "image.naturalHeight !== value", SIZE[0])
    page.wait_for_timeout(1000)
    assert shown(page, "true")[0] != SIZE[0]
    assert not page.inner_text("#status").strip()


def test_tracking_without_a_box_asks_for_one(page):
    page.get_by_role("button", name="Clear boxes").click()
    page.get_by_role("button", name="Track").click()
    page.get_by_text("Click two opposite corners of a target first.").wait_for()


def test_what_the_webcam_records_can_be_tracked(page, tmp_path):
    height, _ = shown(page, "true")
    page.get_by_role("tab", name="Webcam").click()
    page.locator("text=Click to Access Webcam").click()
    record = page.get_by_label("start recording")  # and, once it records, stop
    record.click()
    page.wait_for_timeout(2000)
    record.click()
    shown(page, "image.naturalHeight !== value", height)
    click(page, 100, 100)
    click(page, 200, 200)
    page.get_by_role("button", name="Track").click()
    path = download(page, "Download boxes", tmp_path / "boxes.csv")
    assert len(path.read_text().splitlines()) > 3


def test_a_port_in_use_is_named(address):
    port = address.rpartition(":")[2]
    command = [sys.executable, "-m", "asymtrack_jax", "demo", "--port", port]
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode
    message = f"error: 127.0.0.1:{port} cannot be listened on: pass another --port"
    assert failed.stderr.splitlines() == [message]
