"""Who may import whom, and that importing a module does nothing."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from real_data import ROOT

PACKAGES = ("recsim_gen", "rankers", "generators", "analysis")
MODULES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
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


def imports(path: Path) -> set[str]:
    """Top-level packages that a file imports anywhere in it, functions included."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in plain | named}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def may_import(path: Path) -> set[str]:
    """Our packages that a file may import besides its own."""
    package, *rest = path.relative_to(ROOT).parts
    if package != "recsim_gen":
        return {"recsim_gen"}
    is_command = len(rest) == 1
    return {"analysis"} if is_command else set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_layers(path):
    own = path.relative_to(ROOT).parts[0]
    others = imports(path) & set(PACKAGES) - {own}
    assert others <= may_import(path), f"{name_of(path)} may import {may_import(path)}, imports {others}"


def test_the_rule_sees_a_breach(tmp_path):
    path = tmp_path / "x.py"
    path.write_text("def f():\n    from rankers.micro import MICRO\n    import analysis.figures\n")
    assert imports(path) == {"rankers", "analysis"}


def test_only_tracking_imports_mlflow():
    assert [name_of(p) for p in MODULES if "mlflow" in imports(p)] == ["recsim_gen.core.tracking"]


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
    code = f"""
import importlib, sys
for name in {[name_of(p) for p in MODULES]}:
    importlib.import_module(name)
torch = sys.modules.get("torch")
assert torch is None or not torch.cuda.is_initialized()
"""
    command = [sys.executable, "-W", "ignore", "-c", code, "--nonsense"]  # others' deprecations are not ours
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_commands_and_core_import_nothing_heavy():
    light = [
        p
        for p in MODULES
        if p.parent in (ROOT / "recsim_gen", ROOT / "recsim_gen" / "core", ROOT / "analysis")
    ]
    code = f"""
import importlib, sys
for name in {[name_of(p) for p in light]}:
    importlib.import_module(name)
    print(name, [m for m in {HEAVY} if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if not line.endswith("[]")] == []
