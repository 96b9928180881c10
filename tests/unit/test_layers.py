"""Who may import whom, how much a folder holds, and that importing a module does nothing."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from real_data import ROOT

PACKAGES = ("recsim_gen", "rankers", "generators", "analysis")
MODULES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
LARGEST_FOLDER = 25
HEAVY = (
    "torch",
    "mlflow",
    "recbole",
    "ray",
    "transformers",
    "timm",
    "open_clip",
    "sklearn",
    "matplotlib",
    "pandas",
)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the packages in a folder, by the contracts that lie beside them."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    command = [sys.executable, "-c", code]  # the folder is first on the path, before what is installed
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """The packages and their contracts in a folder where imports can be planted."""
    folder = tmp_path_factory.mktemp("packages")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for path in MODULES:
        there = folder / path.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, there)
    return folder


def planted(copied: Path, *imports: tuple[str, str]) -> str:
    """What import-linter says of the copy with these imports, inside a function each, and then without."""
    for module, imported in imports:
        path = copied / (module.replace(".", "/") + ".py")
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\n\ndef planted():\n    import {imported}\n")
    done = lint(copied)
    for module, _ in imports:
        path = Path(module.replace(".", "/") + ".py")
        shutil.copy(ROOT / path, copied / path)
    assert done.returncode == 1
    return done.stdout


def test_every_import_runs_down_and_none_in_a_circle():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
    assert "5 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("recsim_gen.core.errors", "recsim_gen.datasets.splits"),
        ("recsim_gen.metrics.auc", "recsim_gen.judging.samples"),
        ("recsim_gen.experiments.assumptions", "recsim_gen.train_ranker"),
        ("recsim_gen.datasets.splits", "rankers.base"),  # beside it
        ("rankers.base", "analysis.figures"),
        ("generators.sd", "recsim_gen.experiments.assumptions"),
    ],
)
def test_an_import_that_runs_up_is_named(copied, module, imported):
    said = planted(copied, (module, imported))
    assert "Imports run down the floors BROKEN" in said
    assert f"{module} -> {imported}" in said


def test_a_circle_is_named(copied):
    said = planted(copied, ("rankers.configs", "rankers.base"), ("rankers.base", "rankers.configs"))
    assert "No circles BROKEN" in said
    assert "No cycles are allowed in rankers." in said
    assert ".base" in said
    assert ".configs" in said


def test_mlflow_beside_its_module_is_named(copied):
    said = planted(copied, ("recsim_gen.core.report", "mlflow.tracking"))
    assert "One module knows MLflow BROKEN" in said
    assert "recsim_gen.core.report -> mlflow" in said


def test_no_folder_holds_more_than_can_be_overlooked():
    files = Counter(name_of(path.parent) for path in MODULES)
    assert {folder: n for folder, n in files.items() if n > LARGEST_FOLDER} == {}


def test_no_python_in_the_folder_mlflow():
    assert (ROOT / "mlflow").is_dir()
    assert not [
        p for p in (ROOT / "mlflow").rglob("*") if p.suffix in {".py", ".pyc"} or p.name == "__pycache__"
    ]


def test_mlflow_is_the_package_even_where_a_folder_has_its_name():
    code = "import mlflow; print(mlflow.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    package = Path(done.stdout.strip()).resolve()
    assert ROOT / "mlflow" not in package.parents
    assert importlib.util.find_spec("mlflow").origin == str(package)


def test_importing_all_of_us_does_nothing(tmp_path):
    """No output, no file, no argument read, no device touched."""
    there = importlib.util.find_spec("recbole") is not None
    ours = [name_of(p) for p in MODULES if there or "recbole" not in p.parts]
    code = f"""
import importlib, sys
for name in {ours}:
    importlib.import_module(name)
torch = sys.modules.get("torch")
assert torch is None or not torch.cuda.is_initialized()
"""
    command = [sys.executable, "-W", "ignore", "-c", code, "--nonsense"]  # others' deprecations are not ours
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_commands_and_core_import_nothing_heavy():
    core = ROOT / "recsim_gen" / "core"
    light = [p for p in MODULES if p.parent in (ROOT / "recsim_gen", ROOT / "analysis") or core in p.parents]
    code = f"""
import importlib, sys
for name in {[name_of(p) for p in light]}:
    importlib.import_module(name)
    print(name, [m for m in {HEAVY} if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if not line.endswith("[]")] == []
