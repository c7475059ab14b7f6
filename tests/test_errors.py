import pytest

from asymtrack_jax.errors import InputError, run_main


@pytest.mark.parametrize("error", [InputError("no such thing"), FileNotFoundError("no such thing")])
def test_what_the_user_can_mend_is_one_line(error):
    def main():
        raise error

    with pytest.raises(SystemExit, match=r"^error: no such thing$"):
        run_main(main)


def test_a_defect_keeps_its_traceback():
    def main():
        raise KeyError("a defect")

    with pytest.raises(KeyError):
        run_main(main)


@pytest.mark.parametrize("status", [None, 0, 130])
def test_the_status_is_the_exit_status(status):
    with pytest.raises(SystemExit) as exited:
        run_main(lambda: status)
    assert exited.value.code == status
