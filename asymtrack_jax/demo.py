"""A page in the browser: choose a video, click targets on its first frame, watch the tracker."""

import contextlib
import dataclasses
import math
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import gradio as gr  # pyright: ignore[reportMissingImports]
import numpy as np
import pandas as pd  # pyright: ignore[reportMissingImports]
from jaxtyping import Float64

from asymtrack_jax.data.sequences import Frame
from asymtrack_jax.errors import InputError
from asymtrack_jax.tracking.model import Model
from asymtrack_jax.tracking.tracker import Tracker
from asymtrack_jax.video import drawing
from asymtrack_jax.video.sources import DEFAULT_SEED, open_source
from asymtrack_jax.video.step import NO_FRAME, Step
from asymtrack_jax.video.tracking import RATE_WINDOW, track_video, tracks_of, update_rate
from asymtrack_jax.video.tracks import write_tracks
from asymtrack_jax.video.writers import open_writer

PICTURE_SECONDS = 0.1  # between two pictures of a video that is being tracked
CURVE_SECONDS = 0.5
CURVE_POINTS = 300  # per target
HELP = (
    "# AsymTrack\nChoose a video, **click two opposite corners** of each target in its first "
    "frame, and press **Track**."
)
COLOURS = {str(i): "#{:02x}{:02x}{:02x}".format(*rgb) for i, rgb in enumerate(drawing.COLOURS)}


@dataclasses.dataclass
class Session:
    """State of one open page.

    Attributes:
        video: path of the video; None for a rendered clip.
        seed: random seed of the rendered clip.
        first_frame: uint8 RGB.
        corners: x, y in pixels of the first frame; two in a row make a box.
        tracking: whether a video is being tracked; the loop stops when it is set to false.
    """

    video: str | None
    seed: int
    first_frame: Frame
    corners: list[tuple[float, float]]
    tracking: bool = False

    @property
    def bboxes(self) -> Float64[np.ndarray, "N 4"]:
        """Boxes of which both corners are given, xywh in pixels."""
        complete = len(self.corners) // 2
        pairs = np.array(self.corners[: 2 * complete], np.float64).reshape(-1, 2, 2)
        return np.concatenate([pairs.min(axis=1), np.ptp(pairs, axis=1)], axis=1)

    def picture(self) -> Frame:
        """Draws the boxes, and the first corner of an incomplete one, on the first frame."""
        bboxes = self.bboxes
        count = len(bboxes)
        status = "first frame" if count else "click two opposite corners of a target"
        image = drawing.annotate(self.first_frame, np.arange(count), bboxes, np.ones(count), status)
        for x, y in self.corners[2 * count :]:
            colour = drawing.COLOURS[count % len(drawing.COLOURS)]
            cv2.drawMarker(image, (round(x), round(y)), colour, cv2.MARKER_CROSS, 16, 2)
        return image


def open_session(video: str | None, seed: float | None = 0) -> Session:
    """Opens a video, or renders a clip, whose target is then chosen already.

    Raises:
        gradio.Error: the video cannot be read.
    """
    seed = int(seed or 0)
    with _messages():
        source = open_source(video, seed)
    corners = []
    if source.truth is not None:
        x, y, w, h = source.truth[0].tolist()
        corners = [(x, y), (x + w, y + h)]
    return Session(video, seed, source.first_frame, corners)


def track(model: Model, session: Session, folder: Path) -> Iterator[tuple[list[Step], Frame]]:
    """Tracks a session's boxes; writes `track.mp4` and `track.csv` into a folder at the end.

    Yields:
        The steps so far, without their frames, and the last frame, annotated.

    Raises:
        gradio.Error: no box is complete, or a frame cannot be read.
    """
    if not len(session.bboxes):
        raise gr.Error("Click two opposite corners of a target first.", print_exception=False)
    steps: list[Step] = []
    session.tracking = True
    try:
        with _messages():
            source = open_source(session.video, session.seed)
            with open_writer(folder / "track.mp4", source.fps) as writer:
                for step in track_video(Tracker(model), source.frames, session.bboxes):
                    drawn = drawing.annotate(*step[:4], f"#{len(steps)}")
                    writer.write(drawn)
                    steps.append(step._replace(frame=NO_FRAME))
                    yield steps, drawn
                    if not session.tracking:
                        break
            write_tracks(folder / "track.csv", tracks_of(steps))
    finally:
        session.tracking = False


def score_curve(steps: list[Step]) -> pd.DataFrame:
    """Returns scores by frame and target, at most about `CURVE_POINTS` frames of them."""
    tracks = tracks_of(steps)
    rows = tracks.frames % math.ceil(len(steps) / CURVE_POINTS) == 0
    targets = (tracks.targets[rows] % len(COLOURS)).astype(str)
    return pd.DataFrame(
        {"frame": tracks.frames[rows], "score": tracks.scores[rows], "target": targets}
    )


def status_line(steps: list[Step]) -> str:
    """Formats the number of the frame, the score and the speed."""
    if len(steps) < 2:
        return "The network is being compiled, once: this takes some seconds."
    rate = update_rate([step.seconds for step in steps], RATE_WINDOW)
    speed = "" if math.isnan(rate) else f" · **{rate:.0f}** frames per second (tracker alone)"
    return f"Frame **{len(steps) - 1}** · score **{steps[-1].scores.mean():.2f}**{speed}"


def build_page(model: Model, folder: Path) -> gr.Blocks:
    """Builds the page, which writes into new folders within `folder`."""

    def opened(session: Session) -> tuple[Any, ...]:
        nothing = gr.DownloadButton(interactive=False)
        return session, session.picture(), None, "", nothing, nothing

    def open_clip(seed: float | None) -> tuple[Any, ...]:
        return opened(open_session(None, seed))

    def open_video(video: str | None) -> tuple[Any, ...]:
        return opened(open_session(video)) if video else (gr.skip(),) * 6

    def open_recording(recorded: dict[str, Any] | None) -> tuple[Any, ...]:
        return open_video(recorded["path"] if recorded else None)

    def click(session: Session, event: gr.SelectData) -> Any:
        if session.tracking:
            return gr.skip()
        session.corners.append(tuple(event.index))
        return session.picture()

    def clear(session: Session) -> tuple[Any, ...]:
        session.tracking = False
        session.corners.clear()
        return opened(session)

    def stop(session: Session) -> None:
        session.tracking = False

    def run(session: Session) -> Iterator[tuple[Any, ...]]:
        target = Path(tempfile.mkdtemp(dir=folder))
        yield session.picture(), gr.skip(), status_line([]), gr.skip(), gr.skip()
        pictured = curved = -math.inf
        steps, drawn = [], session.first_frame
        for steps, drawn in track(model, session, target):
            now = time.perf_counter()
            if now < pictured + PICTURE_SECONDS:
                continue
            pictured, curve = now, gr.skip()
            if now > curved + CURVE_SECONDS:
                curved, curve = now, score_curve(steps)
            yield drawn, curve, status_line(steps), gr.skip(), gr.skip()
        files = (
            gr.DownloadButton(value=target / name, interactive=True)
            for name in ("track.mp4", "track.csv")
        )
        yield drawn, score_curve(steps), status_line(steps), *files

    with gr.Blocks(title="AsymTrack", analytics_enabled=False) as page:
        session = gr.State()
        gr.Markdown(HELP)
        with gr.Row():
            with gr.Column(scale=3):
                picture = gr.Image(
                    show_label=False,
                    format="jpeg",
                    interactive=False,
                    buttons=[],
                    elem_id="picture",
                )
                with gr.Row():
                    start = gr.Button("Track", variant="primary")
                    halt = gr.Button("Stop")
                    reset = gr.Button("Clear boxes")
            with gr.Column(scale=2):
                with gr.Tab("Rendered clip"):
                    seed = gr.Number(DEFAULT_SEED, label="Seed", precision=0, minimum=0)
                with gr.Tab("Video file"):
                    video = gr.Video(sources=["upload"], include_audio=True, show_label=False)
                with gr.Tab("Webcam"):
                    recording = gr.Video(
                        sources=["webcam"],
                        include_audio=False,
                        show_label=False,
                        webcam_options=gr.WebcamOptions(
                            mirror=False, constraints={"video": {"width": 640, "height": 480}}
                        ),
                    )
                curve = gr.LinePlot(
                    x="frame",
                    y="score",
                    color="target",
                    color_map=COLOURS,
                    y_lim=[0, 1],
                    height=220,
                    title="Score (expected IoU)" if model.calibration else "Score",
                )
                status = gr.Markdown(elem_id="status")
                with gr.Row():
                    video_file = gr.DownloadButton("Download video", interactive=False)
                    boxes_file = gr.DownloadButton("Download boxes", interactive=False)
        shown = [picture, curve, status, video_file, boxes_file]
        everything = [session, *shown]
        running = start.click(run, session, shown, show_progress="hidden")
        halt.click(stop, session, queue=False)
        page.load(open_clip, seed, everything)
        # Another video is opened after the tracking of the last one has been cancelled: otherwise a
        # picture of that one may come last.
        cancelled = {"fn": None, "cancels": running}
        seed.submit(**cancelled).then(open_clip, seed, everything)
        video.change(**cancelled).then(open_video, video, everything)
        # Not preprocessed, which would need the ffmpeg command to drop a sound that is not there.
        recording.change(**cancelled).then(open_recording, recording, everything, preprocess=False)
        reset.click(**cancelled).then(clear, session, everything)
        picture.select(click, session, picture, show_progress="hidden")
    return page


def serve(model: Model, host: str, port: int) -> None:
    """Serves the page until Ctrl-C, and then removes the files that it has written.

    Raises:
        InputError: the address cannot be listened on.
    """
    fonts = ("system-ui", "sans-serif")  # none of them is loaded from anywhere
    theme = gr.themes.Soft(font=fonts, font_mono=("ui-monospace", "monospace"))
    with tempfile.TemporaryDirectory(prefix="asymtrack_demo_") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # where Gradio keeps uploads
        page = build_page(model, Path(folder))
        try:
            page.launch(
                server_name=host,
                server_port=port,
                share=False,
                ssr_mode=False,
                run_history=False,
                footer_links=[],
                theme=theme,
                quiet=True,
                prevent_thread_lock=True,
            )
        except OSError as error:
            raise InputError(f"{host}:{port} cannot be listened on: pass another --port") from error
        print(f"open {page.local_url} in a browser; Ctrl-C stops", flush=True)
        page.block_thread()


@contextlib.contextmanager
def _messages() -> Iterator[None]:
    """Shows an `InputError` on the page."""
    try:
        yield
    except InputError as error:
        raise gr.Error(str(error), print_exception=False) from error
