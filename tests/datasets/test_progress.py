"""Progress is shown on the error stream if it is a terminal, or if the caller asks for it."""

import pytest

from fcn_keras.datasets.progress import make_progress_bar, track


@pytest.mark.parametrize(("terminal", "show", "shown"), [("1", None, True), ("1", False, False), ("", True, True), ("", None, False)])  # fmt: skip
def test_where_it_is_shown(terminal, show, shown, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", terminal)  # rich takes the error stream for a terminal if this is not empty
    assert list(track(iter("abc"), "letters", total=3, show=show)) == ["a", "b", "c"]
    out, err = capsys.readouterr()
    assert out == "" and ("3/3" in err and "letters" in err) == shown
    assert shown or err == ""


def test_an_error_ends_the_display(capsys):
    with pytest.raises(ZeroDivisionError):
        list(track((1 // n for n in (1, 0)), "numbers", total=2, show=True))
    with make_progress_bar(show=True) as bar:  # rich allows one display at a time on a console
        bar.advance(bar.add_task("films", total=1))
    assert "1/1" in capsys.readouterr().err
