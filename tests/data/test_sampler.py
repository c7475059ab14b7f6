import os
from pathlib import Path

import numpy as np
import pytest

from asymtrack_jax.data.index import Part, SequenceIndex, build_index
from asymtrack_jax.data.sampler import PairSampler, record_generator
from asymtrack_jax.data.sequences import Sequence, numbered_images
from asymtrack_jax.errors import InputError


def index_of(**sequences: np.ndarray) -> SequenceIndex:
    """Sequences by name, each by where its target is visible."""
    root = Path("set")
    found = []
    for name, seen in sequences.items():
        images = numbered_images(root / name, "{}.jpg", range(len(seen)))
        found.append(Sequence(name, images, np.ones((len(seen), 4)), seen))
    return build_index(root, [Part((), lambda: found)])


def video(length, *hidden) -> np.ndarray:
    visible = np.ones(length, bool)
    for start, stop in hidden:
        visible[start:stop] = False
    return visible


def names(sampler, pair):
    index = sampler.sources[pair.source]
    return [os.fspath(index.frame_path(row).relative_to("set")) for row in pair[1:]]


def draws(sampler, count, seed=0):
    return [sampler.draw(record_generator(seed, record)) for record in range(count)]


def test_pairs_are_causal_close_and_visible():
    index = index_of(before=video(30), target=video(600, (100, 250), (300, 310), (599, 600)))
    sampler = PairSampler([index], [1.0], max_gap=120)
    gaps, templates = [], []
    for pair in draws(sampler, 3000):
        assert index.visible[pair.template]
        assert index.visible[pair.search]
        templates.append(pair.template - 30)
        gaps.append(pair.search - pair.template)
        assert (pair.template < 30) == (pair.search < 30)
    templates, gaps = np.array(templates), np.array(gaps)
    assert gaps.min() == 1
    assert gaps.max() == 120
    in_target = templates >= 0
    assert 0.45 < in_target.mean() < 0.55
    assert templates.max() == 597  # another visible frame must follow
    assert not ((templates == 99) & (gaps > 120)).any()
    assert abs(np.mean(templates[in_target] < 100) - 100 / 439) < 0.05


def test_a_template_is_followed_within_the_gap():
    index = index_of(clip=video(60, (10, 40)))
    sampler = PairSampler([index], [1.0], max_gap=5)
    templates = {pair.template for pair in draws(sampler, 500)}
    assert templates == {*range(9), *range(40, 59)}  # nothing is near enough to 9


def test_the_ratio_is_of_pairs_not_of_sequences():
    many = index_of(**{f"many{number}": video(20) for number in range(50)})
    sampler = PairSampler([index_of(one=video(20)), many], [3.0, 1.0])
    sources = [pair.source for pair in draws(sampler, 2000)]
    assert abs(np.mean(sources) - 0.25) < 0.03


def test_stills_pair_with_themselves():
    index = index_of(seen=video(1), hidden=~video(1), other=video(1))
    sampler = PairSampler([index], [1.0])
    pairs = draws(sampler, 100)
    assert {tuple(names(sampler, pair)) for pair in pairs} == {
        ("seen/0.jpg", "seen/0.jpg"),
        ("other/0.jpg", "other/0.jpg"),
    }


def test_unusable_videos_are_passed_over():
    every = np.arange(200)
    index = index_of(
        short=video(19),
        hidden=video(30, (0, 26)),
        sparse=every % 50 == 0,
        just=video(20, (0, 15)),
    )
    sampler = PairSampler([index], [1.0], max_gap=40)
    assert {names(sampler, pair)[0].split("/")[0] for pair in draws(sampler, 200)} == {"just"}


def test_a_record_is_the_same_pair_in_any_order():
    sampler = PairSampler([index_of(a=video(300), b=video(80)), index_of(c=video(1))], [1.0, 1.0])
    forwards = draws(sampler, 50, seed=3)
    backwards = [sampler.draw(record_generator(3, record)) for record in reversed(range(50))]
    assert forwards == backwards[::-1]
    assert forwards != draws(sampler, 50, seed=4)
    assert len(set(forwards)) > 20


def test_what_cannot_be_drawn_from_is_refused():
    index = index_of(a=video(20))
    with pytest.raises(InputError, match="no usable sequence in set: none is a still or has"):
        PairSampler([index, index_of(short=video(5))], [1.0, 1.0])
    for sources, ratio in (([], []), ([index], [1.0, 1.0]), ([index], [0.0])):
        with pytest.raises(InputError, match="one positive share for each of"):
            PairSampler(sources, ratio)
    with pytest.raises(InputError, match="max_gap must be at least 1"):
        PairSampler([index], [1.0], max_gap=0)
