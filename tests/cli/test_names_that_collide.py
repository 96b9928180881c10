"""A reader's own files in the working folder, called like packages of ours, are told before any work."""

import pytest
from command_line import call

OWN = "raise SystemExit('a file of the reader was run')\n"
ONE_LINE = (
    "error: {name} must be a package of recsim-gen, got {place}: give that another name, or run in another "
    "folder\n"
)


@pytest.mark.parametrize(
    "file", ["analysis.py", "rankers.py", "generators/__init__.py"], ids=["analysis", "rankers", "generators"]
)
def test_a_file_called_like_a_package_of_ours_is_told_in_one_line(tmp_path, file):
    path = tmp_path / "here" / file
    path.parent.mkdir(parents=True)
    path.write_text(OWN)
    done = call("evaluate", "--gen=sd", here=tmp_path / "here", cache=tmp_path / "cache")
    place = path.parent if path.name == "__init__.py" else path
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ONE_LINE.format(name=place.stem, place=place)
    assert not (tmp_path / "cache").exists()


def test_a_folder_without_code_is_looked_past_or_told(tmp_path):
    """Such as one of pictures called ``generators``: what Python finds depends on how this is installed."""
    here = tmp_path / "here"
    for name in ("analysis", "rankers", "generators"):
        (here / name / "pictures").mkdir(parents=True)
    done = call("data", "check", "boutiqe", here=here, cache=tmp_path / "cache")
    told = ONE_LINE.format(name="rankers", place=here / "rankers")
    assert done.returncode == 2
    assert done.stderr == told or "unknown data 'boutiqe'. Did you mean 'boutique'?" in done.stderr
