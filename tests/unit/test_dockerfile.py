"""The Dockerfile, as far as it can be checked unbuilt: what it copies, installs, runs and as whom."""

import json
import re
import shlex

import pytest
from packaging.specifiers import SpecifierSet
from real_data import ROOT

tomllib = pytest.importorskip("tomllib", reason="of Python 3.11")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
STEPS = [
    line.split(maxsplit=1)
    for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]


def of(word: str) -> list[str]:
    """What follows each instruction of this name."""
    return [rest for name, rest in STEPS if name == word]


def test_its_python_is_pinned_and_one_that_the_library_takes():
    (image,) = of("FROM")
    version = re.fullmatch(r"python:(\d+\.\d+\.\d+)-slim", image)[1]
    assert version in SpecifierSet(PROJECT["requires-python"])


def test_all_that_is_copied_exists_and_is_let_through():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for rest in of("COPY") for source in shlex.split(rest)[:-1]}
    assert copied == allowed
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_what_the_wheel_is_made_of_is_copied():
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    packages = {name.rstrip("*") for name in found["include"]}
    files = {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml"}
    assert packages | files <= {source for rest in of("COPY") for source in shlex.split(rest)[:-1]}


def test_its_extras_exist_and_versions_are_constrained():
    (install,) = (rest for rest in of("RUN") if rest.startswith("pip install"))
    extras = re.search(r"\.\[([\w,]+)\]", install)[1].split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])
    assert "--constraint constraints.txt" in install


def test_it_runs_the_command_and_not_as_root():
    (entry,), (user,) = of("ENTRYPOINT"), of("USER")
    assert json.loads(entry)[0] in PROJECT["scripts"]
    assert user != "root"
    assert any("useradd" in rest and rest.endswith(user) for rest in of("RUN"))
    names = [name for name, _ in STEPS]
    assert names.index("USER") > max(k for k, name in enumerate(names) if name == "RUN")
