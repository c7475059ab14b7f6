import dataclasses
import pickle
import shutil

import cv2
import numpy as np
import pytest

from asymtrack_jax.cli.render import main
from asymtrack_jax.config import Synthetic
from asymtrack_jax.data.readers import folder
from asymtrack_jax.data.sequences import Frames, Sequence, Source
from asymtrack_jax.data.synthetic import Clip, SyntheticSource, read_sequences, render_clip
from asymtrack_jax.data.synthetic.render import render
from asymtrack_jax.data.synthetic.scene import Assets, Scene, make_scene
from asymtrack_jax.data.synthetic.source import find_assets
from asymtrack_jax.data.synthetic.sprites import Sprite
from asymtrack_jax.data.synthetic.writing import write_sequence
from asymtrack_jax.errors import InputError

SIZE = (120, 160)
SMALL = Synthetic(num_sequences=3, num_frames=7, height=48, width=64)


@pytest.fixture
def cutouts(tmp_path):
    """A folder with one cut-out, an L with soft edges."""
    image = np.full((60, 90, 4), 200, np.uint8)
    image[..., 3] = 0
    image[10:50, 10:30, 3] = image[35:50, 10:80, 3] = 255
    image[..., 3] = cv2.GaussianBlur(image[..., 3], (0, 0), 2)
    (tmp_path / "cutouts" / "deep").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "cutouts" / "deep" / "l.png"), image)
    return tmp_path / "cutouts"


@pytest.fixture
def backgrounds(tmp_path):
    """A folder with one photograph, red all over."""
    (tmp_path / "photographs" / "deep").mkdir(parents=True)
    red = np.zeros((30, 200, 3), np.uint8)
    red[..., 2] = 200
    cv2.imwrite(str(tmp_path / "photographs" / "deep" / "red.jpg"), red)
    return tmp_path / "photographs"


def plain(sprite: Sprite, level: int) -> Sprite:
    """The sprite in one grey level."""
    return dataclasses.replace(
        sprite, colours=lambda: np.full((*sprite.alpha.shape, 3), level, "u1")
    )


def silhouette(scene: Scene) -> Scene:
    """The target in white, what hides it and all else in black, by a camera without any flaw."""
    camera = dataclasses.replace(scene.camera, ranges=np.zeros(4), shutter=0.0, noise=0.0)
    return dataclasses.replace(
        scene,
        surroundings=lambda: np.zeros((200, 260, 3), np.uint8),
        behind=(),
        target=dataclasses.replace(scene.target, sprite=plain(scene.target.sprite, 255)),
        in_front=tuple(dataclasses.replace(a, sprite=plain(a.sprite, 0)) for a in scene.in_front),
        camera=camera,
    )


def test_frames_are_rgb_and_rendered_when_asked_for():
    clip = render_clip(100_000, size=(60, 80))
    assert isinstance(clip, Frames)
    assert len(clip) == 100_000
    assert clip[99_999].shape == (60, 80, 3)
    assert clip[-1].dtype == np.uint8
    np.testing.assert_array_equal(clip[-1], clip[99_999])
    with pytest.raises(IndexError):
        clip[100_000]


def test_a_seed_makes_one_clip_whatever_its_length():
    short, long, other = (render_clip(n, SIZE, seed) for n, seed in ((5, 1), (300, 1), (5, 2)))
    last = long[4]  # by itself, before all others
    np.testing.assert_allclose(short.boxes, long.boxes[:5])
    np.testing.assert_array_equal(short.visible, long.visible[:5])
    for a, b in zip(short, long, strict=False):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(short[4], last)
    assert not np.array_equal(short[0], other[0])
    assert not np.array_equal(short[0], short[1])


@pytest.mark.parametrize("seed", range(5))
def test_targets_start_in_sight_stay_in_the_frame_and_move_smoothly(seed):
    clip = render_clip(300, SIZE, seed)
    assert clip.boxes.dtype == np.float64
    assert clip.visible[0]
    assert clip.visible.mean() > 0.5
    boxes = clip.boxes[~np.isnan(clip.boxes).any(axis=1)]
    assert len(boxes) > 200
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= [160, 120]).all()
    assert (boxes[:, 2:] > 0).all()
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1) / np.sqrt(boxes[1:, 2:].prod(axis=1))
    assert 0.03 < np.quantile(steps, 0.9) < 0.5


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("pasted", [False, True])
def test_boxes_are_exact(pasted, seed, cutouts):
    """Whatever the target's turns, scale, stretch and bends."""
    assets = Assets(cutouts=tuple(cutouts.rglob("*.png"))) if pasted else Assets()
    scene = silhouette(make_scene((seed, 1), SIZE, assets))
    target = dataclasses.replace(
        scene.target,
        ranges=np.array([0.4, 0.2, 2, 5, 5]),
        amplitude=0.1 * scene.target.sprite.reach,
    )
    clip = Clip(dataclasses.replace(scene, target=target, in_front=()), 60)
    gaps = []
    for frame, box in zip(clip, clip.boxes, strict=True):
        low, high = box[:2], box[:2] + box[2:]
        if (low <= 1).any() or (high >= [159, 119]).any():
            continue  # for what lies at the edge is cut off
        y, x = np.nonzero(frame[..., 0] >= 128)
        centres = np.array([x.min(), y.min(), x.max(), y.max()]) + 0.5
        gaps.append([*(centres[:2] - low), *(high - centres[2:])])
    # From an edge to the first pixel's centre it is 0 to 1, on average 0.5. A shift by half a pixel
    # would make opposite gaps differ by 1.
    assert len(gaps) > 15
    mean = np.mean(gaps, axis=0)
    np.testing.assert_allclose(mean, 0.5, atol=0.25)
    np.testing.assert_allclose(mean[:2], mean[2:], atol=0.3)


def test_boxes_end_at_the_frame_and_are_nan_beyond():
    scene = make_scene((0, 1), SIZE)
    where = np.array([[80.0, 60], [160, 60], [80, 0], [-500, 60]])
    target = dataclasses.replace(scene.target, path=lambda times: where[times.astype(int)])
    boxes, visible = dataclasses.replace(scene, target=target, in_front=()).annotate(np.arange(4.0))
    assert visible.tolist() == [True, True, True, False]
    assert boxes[1, 0] + boxes[1, 2] == 160
    assert boxes[2, 1] == 0
    assert np.isnan(boxes).all(axis=1).tolist() == [False, False, False, True]


def test_visible_is_false_where_little_shows():
    shares, visible = [], []
    for seed in range(8):
        scene = silhouette(make_scene((seed, 1), SIZE))
        bare = dataclasses.replace(scene, in_front=())
        times = range(0, 200, 10)
        visible.extend(scene.annotate(np.array(times, float))[1])
        for time in times:
            x, y = (bare.target.poses(np.array([float(time)])).centre[0] - [80, 60]).tolist()
            middle = bare.target.path
            centred = dataclasses.replace(
                bare.target, path=lambda t, middle=middle, x=x, y=y: middle(t) - [x, y]
            )
            whole = render(dataclasses.replace(bare, target=centred), time)
            shares.append((render(scene, time) > 127).sum() / (whole > 127).sum())
    shares, visible = np.array(shares), np.array(visible)
    assert (shares < 0.1).sum() >= 3
    assert (shares > 0.3).sum() >= 50
    assert not visible[shares < 0.1].any()
    assert visible[shares > 0.3].all()


def test_other_things_never_change_the_box():
    scene = make_scene((7, 1), SIZE)
    times = np.arange(150.0)
    boxes, visible = scene.annotate(times)
    assert scene.behind
    assert scene.in_front
    assert not visible.all()
    same_boxes, same_visible = dataclasses.replace(scene, behind=()).annotate(times)
    np.testing.assert_array_equal(boxes, same_boxes)
    np.testing.assert_array_equal(visible, same_visible)
    np.testing.assert_array_equal(boxes, dataclasses.replace(scene, in_front=()).annotate(times)[0])


def test_scenes_are_of_all_kinds():
    scenes = [make_scene((seed, 1), SIZE) for seed in range(40)]
    doubles = [a.sprite is s.target.sprite for s in scenes for a in (*s.behind, *s.in_front)]
    assert 0 < np.mean(doubles) < 0.5
    counts = {len(scene.behind) + len(scene.in_front) for scene in scenes}
    assert {0, 1, 2, 3} <= counts
    assert max(counts) <= 8


def test_source_is_one_and_travels(tmp_path):
    source = SyntheticSource(SMALL, seed=3)
    assert isinstance(source, Source)
    np.testing.assert_array_equal(source.offsets, [0, 7, 14, 21])
    assert (source.boxes.shape, source.boxes.dtype) == ((21, 4), np.float32)
    assert (source.visible.shape, source.visible.dtype) == ((21,), bool)
    assert source.read(20).shape == (48, 64, 3)
    assert "frame 6 of synthetic clip 2" in source.frame_name(20)
    data = pickle.dumps(source)
    assert len(data) < 5000
    np.testing.assert_array_equal(pickle.loads(data).read(13), source.read(13))


def test_no_two_sets_share_a_clip():
    config = dataclasses.replace(SMALL, num_sequences=4)
    boxes = [
        *(box for seed in (0, 1, 2) for box in SyntheticSource(config, seed).boxes[::7]),
        *(s.boxes[0].astype(np.float32) for s in read_sequences(config)),
        *(render_clip(7, (48, 64), seed).boxes[0].astype(np.float32) for seed in range(4)),
    ]
    assert len(np.unique(boxes, axis=0)) == len(boxes) == 20


def test_given_images_are_used(cutouts, backgrounds):
    config = dataclasses.replace(SMALL, cutouts=cutouts, backgrounds=backgrounds)
    source = SyntheticSource(config, seed=1)
    corner = source.read(0)[:2, :2].mean(axis=(0, 1))
    assert corner[0] > 3 * corner[1:].max()


def test_written_sequences_are_read_back(tmp_path, capsys):
    arguments = ["--num-sequences=2", "--num-frames=4", "--height=48", "--width=64"]
    main(["--output", str(tmp_path / "deep" / "O"), *arguments])
    output = tmp_path / "deep" / "O"
    truth = read_sequences(dataclasses.replace(SMALL, num_sequences=2, num_frames=4))
    written = folder.read_sequences(output)
    assert (
        [s.name for s in written] == [s.name for s in truth] == ["synthetic_000", "synthetic_001"]
    )
    for ours, theirs in zip(written, truth, strict=True):
        np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1e-3)
        assert len(ours.frames) == 4
        assert np.abs(ours.frames[3].astype(int) - theirs.frames[3]).mean() < 12

    # A second run makes what is missing, and leaves the rest alone.
    first = output / "synthetic_000" / "img" / "00000001.jpg"
    first.write_bytes(b"untouched")
    shutil.rmtree(output / "synthetic_001")
    main(["--output", str(output), *arguments])
    assert first.read_bytes() == b"untouched"
    assert sorted(p.name for p in output.iterdir()) == ["synthetic_000", "synthetic_001"]
    with pytest.raises(InputError, match="synthetic_000 holds something else"):
        main(["--output", str(output), *arguments, "--seed=1"])


def test_hidden_targets_are_written_as_absent(tmp_path):
    clip = render_clip(3, (48, 64))
    sequence = Sequence("a", clip, clip.boxes, np.array([True, False, True]))
    write_sequence(sequence, tmp_path / "a", 90)
    assert (tmp_path / "a" / "groundtruth.txt").read_text().splitlines()[1] == "nan,nan,nan,nan"


@pytest.mark.parametrize(("frames", "size"), [(0, (240, 320)), (5, (31, 320)), (5, (320, 0))])
def test_refuses_what_cannot_be_rendered(frames, size):
    with pytest.raises(InputError, match="at least one frame"):
        render_clip(frames, size)


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("grey.png", np.zeros((9, 9), np.uint8), "grey.png has no alpha channel"),
        ("rgb.png", np.zeros((9, 9, 3), np.uint8), "rgb.png has no alpha channel"),
        ("clear.png", np.zeros((9, 9, 4), np.uint8), "clear.png is empty"),
        ("broken.png", None, "broken.png is not an image"),
    ],
)
def test_bad_cutouts_are_named(tmp_path, name, image, message):
    (tmp_path / name).write_bytes(b"" if image is None else cv2.imencode(".png", image)[1])
    with pytest.raises(InputError, match=message):
        SyntheticSource(dataclasses.replace(SMALL, cutouts=tmp_path))


def test_missing_and_empty_folders_are_named(tmp_path):
    for field, what in (("cutouts", "cut-outs"), ("backgrounds", "backgrounds")):
        for directory, problem in (
            (tmp_path, "holds no images"),
            (tmp_path / "x", "does not exist"),
        ):
            with pytest.raises(InputError, match=f"folder of {what}, {directory}, {problem}"):
                SyntheticSource(dataclasses.replace(SMALL, **{field: directory}))
    with pytest.raises(InputError, match="--jpeg-quality must be 0 to 100"):
        main(["--output", str(tmp_path / "O"), "--jpeg-quality=101"])
    assert not (tmp_path / "O").exists()


def test_an_unreadable_photograph_is_named(backgrounds):
    (backgrounds / "deep" / "red.jpg").write_bytes(b"\xff\xd8 no more")
    source = SyntheticSource(dataclasses.replace(SMALL, backgrounds=backgrounds))
    with pytest.raises(InputError, match=r"red\.jpg"):
        source.read(0)


def test_what_moves_beside_a_cutout_may_be_of_its_kind(tmp_path):
    """Each kind has sides of its own, which tell what a sprite was cut from."""
    sides = {"tall": (60, 20), "wide": (20, 60)}
    for kind, (height, width) in sides.items():
        (tmp_path / kind).mkdir()
        for number in range(3):
            image = np.full((height, width + number, 4), 255, np.uint8)
            cv2.imwrite(str(tmp_path / kind / f"{number}.png"), image)
    assets = find_assets(tmp_path, None)

    def tall(sprite: Sprite) -> bool:
        return sprite.alpha.shape[0] > sprite.alpha.shape[1]

    others = []
    for seed in range(20):
        scene = make_scene((seed,), SIZE, assets, min_difficulty=0.9, same_class=1.0)
        looks = [actor.sprite for actor in scene.behind]
        assert all(tall(look) == tall(scene.target.sprite) for look in looks)
        others += [look.alpha.shape != scene.target.sprite.alpha.shape for look in looks]
    assert np.mean(others) > 0.5  # and not the same image


def test_scenes_are_at_least_as_hard_as_asked():
    """Things beside and before the target tell how hard a scene is."""
    easy, hard = (
        [len(scene.behind) + len(scene.in_front) for scene in scenes]
        for scenes in (
            [make_scene((seed,), SIZE) for seed in range(60)],
            [make_scene((seed,), SIZE, min_difficulty=1.0) for seed in range(60)],
        )
    )
    assert np.mean(hard) > 1.4 * np.mean(easy)


@pytest.mark.parametrize("name", ["min_difficulty", "same_class"])
def test_shares_outside_0_to_1_are_refused(name, tmp_path):
    with pytest.raises(InputError, match=name):
        dataclasses.replace(SMALL, **{name: 1.5})
    with pytest.raises(InputError, match=name):
        main([f"--{name.replace('_', '-')}=1.5", f"--output={tmp_path / 'new'}"])
