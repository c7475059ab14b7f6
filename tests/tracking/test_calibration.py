import numpy as np
import pytest

import asymtrack_jax
from asymtrack_jax.config import VARIANTS
from asymtrack_jax.errors import InputError
from asymtrack_jax.models import checkpoint
from asymtrack_jax.tracking.calibration import Calibration, read_calibration


def test_it_keeps_the_order_and_stays_within_0_and_1():
    calibrated = Calibration(2.0, -1.0)(np.array([0.0, 0.2, 0.5, 0.9, 1.0]))
    assert (np.diff(calibrated) > 0).all()
    assert 0 < calibrated[0] < calibrated[-1] < 1
    assert calibrated[2] == pytest.approx(1 / (1 + np.e))


def test_slope_1_and_offset_0_change_nothing():
    scores = np.linspace(0.01, 0.99, 50).reshape(5, 10)
    np.testing.assert_allclose(Calibration(1.0, 0.0)(scores), scores, rtol=1e-12)


def test_a_checkpoint_may_hold_one(tmp_path, variables):
    about = {"calibration": {"slope": 0.5, "offset": 1}}
    checkpoint.save(tmp_path / "c", VARIANTS["testing"], variables, about)
    assert asymtrack_jax.load(tmp_path / "c").calibration == Calibration(0.5, 1)
    checkpoint.save(tmp_path / "none", VARIANTS["testing"], variables, {})
    assert asymtrack_jax.load(tmp_path / "none").calibration is None


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "x",
        [1, 2],
        {},
        {"slope": 1.0},
        {"slope": "1", "offset": 0},
        {"slope": 1.0, "offset": None},
        {"slope": 0.0, "offset": 0.0},
        {"slope": -1.0, "offset": 0.0},
        {"slope": float("nan"), "offset": 0.0},
        {"slope": 1.0, "offset": float("inf")},
        {"slope": 10**400, "offset": 0.0},
        {"slope": 1.0, "offset": 0.0, "bias": 0.0},
    ],
)
def test_what_is_no_calibration_is_refused(bad):
    with pytest.raises(InputError, match="a positive slope and an offset"):
        read_calibration({"calibration": bad})


def test_one_calibration_after_another():
    scores, first = np.linspace(0.01, 0.99, 9), Calibration(1.5, -0.3)
    both = Calibration(2.0, 0.4).after(first)
    np.testing.assert_allclose(both(scores), Calibration(2.0, 0.4)(first(scores)))
    assert first.after(None) == first
