"""The notebooks of examples/ run from the first cell to the last, and are kept without their outputs."""

from __future__ import annotations

import io

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image
from real_data import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
GENRES = ("Action", "Comedy", "Drama")
FILMS, PEOPLE, EACH = 45, 12, 24


def executed(name: str, folder, monkeypatch, **environment: str) -> str:
    """All that a notebook shows, run in an empty folder."""
    for variable, value in {
        "RECSIM_CACHE": str(folder / "cache"),
        "HF_HUB_OFFLINE": "1",
        **environment,
    }.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    notebook = nbformat.read(ROOT / "examples" / name, as_version=4)
    here = folder / "here"
    here.mkdir()
    NotebookClient(
        notebook, timeout=280, kernel_name="python3", resources={"metadata": {"path": here}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "\n".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in outputs)


@pytest.fixture
def movielens(tmp_path):
    """A small folder as published, with posters: everybody likes one genre best."""
    folder = tmp_path / "ml"
    (folder / "posters").mkdir(parents=True)
    films = [f'{m},"Film {m} (19{50 + m})",{GENRES[m % 3]}' for m in range(1, FILMS + 1)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *films]) + "\n")
    lines = []
    for person in range(1, PEOPLE + 1):
        draw = np.random.default_rng(person)
        liking = draw.gumbel(size=FILMS) + 2.0 * (np.arange(1, FILMS + 1) % 3 == person % 3)
        order = np.argsort(-liking)[:EACH] + 1
        lines += [f"{person},{film},{3 + film % 3}.0,{1000 + k}" for k, film in enumerate(order)]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *lines]) + "\n")
    for film in range(1, FILMS + 1):
        pixels = np.random.default_rng(film).integers(0, 256, (24, 16, 3), dtype=np.uint8)
        pixels[..., film % 3] = 255
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG")
        (folder / "posters" / f"{film}.jpg").write_bytes(buffer.getvalue())
    return folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_it_is_kept_without_outputs(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert len(cells) >= 5
    assert [cell for cell in cells if cell.outputs or cell.execution_count is not None] == []


def test_the_shop_goes_from_data_to_an_ab_test(tmp_path, monkeypatch):
    said = executed("shop.ipynb", tmp_path, monkeypatch)
    assert "Data(boutique" in said
    assert "recall@10" in said
    assert "identity (taste): holds" in said
    for arm in ("original", "oracle", "shuffled", "aa"):
        assert f"| {arm} " in said


@pytest.mark.slow
def test_a_folder_of_pictures_is_judged_on_movielens(tmp_path, monkeypatch, movielens):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for film in range(1, FILMS + 1):
        Image.new("RGB", (16, 24), (film * 5, 80, 80)).save(pictures / f"{film}.png")
    chosen = {"MOVIELENS": str(movielens), "PICTURES": str(pictures), "EPOCHS": "2"}
    said = executed("movielens.ipynb", tmp_path, monkeypatch, **chosen)
    assert f"{PEOPLE * EACH:,} ratings" in said
    for word in ("| images", "| noise", "identity (vbpr): holds", "title", "Film "):
        assert word in said


def test_without_a_folder_posters_of_other_films_are_judged(tmp_path, monkeypatch, movielens):
    said = executed("movielens.ipynb", tmp_path, monkeypatch, MOVIELENS=str(movielens), EPOCHS="2")
    for word in (f"{PEOPLE * EACH:,} ratings", "| images", "| noise", "identity (vbpr): holds", "Film "):
        assert word in said
