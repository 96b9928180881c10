"""README and docs: short, whole, and true: links lead somewhere, commands are ones that the options take."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys

import pytest
from real_data import ROOT

from recsim_gen.core.command_line.actions import chosen
from recsim_gen.core.command_line.parsing import parse

PAGES = [ROOT / "README.md", ROOT / "mlflow/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAM = re.compile(r"^(?:\S*recsim-gen |\S*python -m recsim_gen\.|\$launch recsim_gen\.)(.+)$")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """All commands of shell blocks, without comments, continued lines joined."""
    found = []
    for page in PAGES:
        for language, block in BLOCK.findall(page.read_text()):
            if language in ("", "sh", "bash", "shell"):
                for line in block.replace("\\\n", " ").splitlines():
                    if match := PROGRAM.match(line.split("  #")[0].strip()):
                        found.append(" ".join(match[1].split()))
    return sorted(set(found))


def test_the_readme_is_one_screen():
    assert (ROOT / "README.md").stat().st_size <= 8 * 1024


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_picture_leads_somewhere(page):
    links = LINK.findall(page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("command", commands())
def test_a_command_that_is_written_is_one_that_its_options_take(command):
    name, *arguments = shlex.split(command)
    module = importlib.import_module(f"recsim_gen.{name.replace('-', '_')}")
    main = getattr(module, "main", None)
    if main is None:  # of several actions
        action = arguments[0]
        main, arguments = chosen({action: getattr(module, action)}, arguments)
    parse(main, arguments)


def test_python_that_is_written_is_python():
    blocks = [b for page in PAGES for language, b in BLOCK.findall(page.read_text()) if language == "python"]
    assert blocks
    for block in blocks:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(str(node.module))
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


def test_the_site_is_built_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "RAGARTasteConfig" in (tmp_path / "reference/index.html").read_text()
