"""Published numbers are those that are printed, and a broken file is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from real_data import ROOT

from analysis.published import FILE, load_published, of_blocks
from recsim_gen.core.errors import DataError

SEEDS = ROOT.parent / "shared" / "seeds"


def printed(words: str) -> str:
    """The document of the shared folder that has these words."""
    for path in sorted(SEEDS.glob("*.txt")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if words in text:
            return text
    pytest.skip(f"no document with {words!r} in {SEEDS}")


def number(table: str, dataset: str, method: str, metric: str) -> float:
    (found,) = [t for t in load_published() if t.id == table]
    frame = found.frame().set_index(["dataset", "method", "metric"])
    return float(frame.loc[(dataset, method, metric), "value"])


def test_every_table_has_a_source_and_numbers_of_the_size_they_can_have():
    tables = load_published()
    assert {t.id for t in tables} >= {"ragar-1", "ragar-2", "ragar-3", "ragar-4", "pmgb-ser", "pmgb-pog"}
    for table in tables:
        frame = table.frame()
        assert frame["document"].str.len().min() > 5
        assert frame["table"].str.len().min() > 5
        assert not frame.duplicated(["dataset", "method", "metric"]).any()
        for metric in ("ssim", "ssim_history", "cps", "cpis", "lpips", "lpips_history"):
            of = frame.loc[frame["metric"] == metric, "value"].to_numpy()
            assert (abs(of) <= (100 if "times 100" in table.scale else 1)).all()
    assert of_blocks(tables, ["auxiliary"]) == [t for t in tables if t.id == "ragar-4"]


def test_the_papers_table_2_has_its_methods_and_its_slips():
    """Numbers as printed, also where they contradict the text beside them."""
    (table,) = [t for t in load_published() if t.id == "ragar-2"]
    assert len(table.rows) == 18
    assert {row.method for row in table.rows} == {"GLIDE", "SD-v1.5", "TI", "LaVIT", "PMG", "RAGAR"}
    assert number("ragar-2", "POG", "RAGAR", "delta_r") == -19.77
    assert number("ragar-4", "ML-latest", "PMG", "recall@10") < number(
        "ragar-4", "ML-latest", "ORI", "recall@10"
    )


@pytest.mark.real
def test_each_row_of_ragars_tables_stands_in_its_text():
    text = printed("Table 2: Quantitative performance comparison on three datasets")
    for table in [t for t in load_published() if t.id in ("ragar-2", "ragar-4")]:
        for row in table.rows:
            values = [str(v) for v in row.values]
            pattern = r"(?m)^(?:\S+ )?" + re.escape(row.method) + ".*" + r"0* .*".join(map(re.escape, values))
            assert re.search(pattern, text), (table.id, row)


@pytest.mark.real
def test_ten_numbers_of_the_benchmark_stand_in_its_text():
    text = printed("Personalized Multimodal Generation Benchmark")
    tables = [t for t in load_published() if t.id.startswith("pmgb-")]
    lines = [re.findall(r"\d\.\d{4}", line) for line in text.splitlines()]
    checked = 0
    for table in tables:
        for row in table.rows:
            wanted = [
                f"{x:.4f}" for pair in zip(row.values, row.sds, strict=True) for x in pair if x is not None
            ]
            assert wanted in lines, (table.id, row.method)
            checked += len(wanted)
    assert checked >= 10


def spoilt(tmp_path: Path, change) -> Path:
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    change(content["tables"][1])
    path = tmp_path / "published.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


BROKEN = [
    (lambda t: t["rows"][0]["values"].append(1.0), r"ragar-2: POG, GLIDE: 9 values are wanted, got 10"),
    (
        lambda t: t["rows"][0]["values"].__setitem__(0, "many"),
        "a finite number or null is wanted, got 'many'",
    ),
    (lambda t: t["rows"][0]["values"].__setitem__(0, float("nan")), "got nan"),
    (lambda t: t["rows"].append(t["rows"][0]), "ragar-2: row 'POG, GLIDE' stands twice"),
    (lambda t: t["metrics"][0].update(better="upward"), "got 'personalisation' and 'upward'"),
    (lambda t: t.update(id="ragar-1"), "table 'ragar-1' stands twice"),
    (lambda t: t.pop("document"), "a table has id, document"),
    (lambda t: t["rows"][0].pop("method"), "published tables are wanted"),
]


@pytest.mark.parametrize(("change", "told"), BROKEN, ids=[told for _, told in BROKEN])
def test_a_file_edited_wrongly_is_one_clear_error(tmp_path, change, told):
    with pytest.raises(DataError, match=told):
        load_published(spoilt(tmp_path, change))
