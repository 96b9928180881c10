"""Where standard error is no terminal, long stages say how far they are, and short ones nothing."""

import pytest

from recsim_gen.core import progress
from recsim_gen.core.progress import bar, quietly


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set on: ``clock[0]``, in seconds."""
    now = [1000.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    return now


def lines(capsys):
    return capsys.readouterr().err.splitlines()


def test_a_long_stage_says_how_long_the_rest_takes(clock, capsys):
    for _ in bar(range(100), "reading"):
        clock[0] += 10
    said = lines(capsys)
    assert len(said) == 33  # every thirty seconds of the thousand
    assert said[0] == "reading: 2 of 100 in 00:30, 24:30 left" or said[0].startswith("reading: 3 of 100")
    assert "left" in said[-1]


def test_a_short_stage_says_nothing(clock, capsys):
    for _ in bar(range(100), "reading"):
        clock[0] += 0.2
    assert lines(capsys) == []


def test_of_work_without_an_end_the_time_left_is_not_guessed(clock, capsys):
    with bar(what="training x, at most") as shown:
        clock[0] += 31
        shown.update()
    assert lines(capsys) == ["training x, at most: 1 in 00:31"]


def test_what_the_bar_shows_behind_is_in_the_line(clock, capsys):
    with bar(what="training", total=4) as shown:
        clock[0] += 60
        shown.update()
        shown.set_postfix(loss="0.5")
    assert lines(capsys) == ["training: 1 of 4 in 01:00, 03:00 left"]
    with bar(what="training", total=4) as shown:
        shown.set_postfix(loss="0.5")
        clock[0] += 60
        shown.update()
    assert lines(capsys) == ["training: 1 of 4 in 01:00, 03:00 left, loss=0.5"]


def test_what_is_done_is_not_said_to_go_on(clock, capsys):
    for _ in bar(range(2), "reading"):
        clock[0] += 100
    assert lines(capsys) == ["reading: 1 of 2 in 01:40, 01:40 left"]


def test_quiet_stages_say_nothing(clock, capsys):
    with quietly():
        for _ in bar(range(9), "reading"):
            clock[0] += 100
    assert lines(capsys) == []
