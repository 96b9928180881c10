"""Table 2 from results: what is marked, in which form, and that controls do not compete."""

from __future__ import annotations

import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.ablation_figure import _draw, ablated, ablation_figure, against_base
from analysis.published import load_published
from analysis.table2 import number, table2
from analysis.table2_figure import _draw as draw_picture
from analysis.table2_text import escaped, frame, latex, markdown, write_tables
from recsim_gen.core.errors import DataError
from recsim_gen.core.results import Results, load

VALUES = {
    "delta_r[micro-seed0]": (
        "higher",
        {"placebo": -0.02, "oracle": 0.9, "sd": 0.1, "pmg": 0.3, "ragar": 0.2},
    ),
    "lpips_history": ("lower", {"placebo": 0.1, "oracle": 0.05, "sd": 0.5, "pmg": 0.4, "ragar": 0.6}),
    "diversity[x]": (None, {"placebo": 0.0, "oracle": 0.1, "sd": 0.2, "pmg": 0.3, "ragar": 0.4}),
    "cs": ("higher", {"placebo": 0.9, "oracle": 0.5, "sd": 0.7, "pmg": 0.7, "ragar": 0.6}),
}
BLOCK = {"cs": "semantic"}


def made() -> Results:
    results = Results("evaluate", {"baseline": "sd"})
    for metric, (better, values) in VALUES.items():
        about = {"block": BLOCK.get(metric, "personalisation"), "better": better, "unit": ""}
        about |= {"held_out": False} if metric.startswith("delta_r") else {}
        for variant, value in values.items():
            role = "control" if variant in ("placebo", "oracle") else "method"
            for seed in (0, 1, None):
                more = {**about, "role": role, "sd": 0.01 if seed is None else None}
                span = {"low": value - 0.1, "high": value + 0.1, "n": 300}
                results.row(variant=variant, metric=metric, seed=seed, value=value, **span, **more)
            if variant != "sd":
                p = 0.01 if variant in ("pmg", "ragar") else 0.5  # of ragar one seed says otherwise
                difference = {"p_holm": p, "decided": variant == "pmg"}
                results.row(variant=variant, metric=f"{metric}_minus_sd", value=value, **difference)
    for variant in values:
        lacking = {"reason": "unavailable: needs weights", "block": "semantic", "better": None, "unit": ""}
        results.row(variant=variant, metric="cis", value=None, n=0, **lacking)
    return results


def marks(metric: str) -> dict[str, str]:
    lines = [line for block in table2(made()).blocks.values() for line in block if line.metric == metric]
    return {variant: cell.mark for variant, cell in lines[0].cells.items() if cell is not None and cell.mark}


def test_best_and_second_follow_the_direction_and_controls_do_not_compete():
    assert marks("delta_r[micro-seed0]") == {"pmg": "best", "ragar": "second"}
    assert marks("lpips_history") == {"pmg": "best", "sd": "second"}
    assert marks("diversity[x]") == {}
    assert marks("cs") == {"sd": "best", "pmg": "best", "ragar": "second"}  # equal numbers share a mark


def test_markdown_says_all_of_a_cell():
    text = markdown(table2(made()))
    (line,) = [x for x in text.splitlines() if x.startswith("| ΔR [micro-seed0] (reward) ↑")]
    cells = [c.strip() for c in line.strip("|").split("|")]
    assert cells[1:] == [
        "-0.020 ± 0.010 [-0.120, 0.080]",
        "0.900 ± 0.010 [0.800, 1.000]",
        "0.100 ± 0.010 [0.000, 0.200]",
        "**0.300**† ± 0.010 [0.200, 0.400]",
        "<ins>0.200</ins> ± 0.010 [0.100, 0.300]",
    ]
    assert "| metric " in text
    assert "| *placebo*" in text
    assert "CIS: unavailable: needs weights" in text
    assert "n test episodes; mean ± sd over 2 seeds" in text
    assert text.count("| n ") == 2
    assert "| 300 " in text
    assert "controls (placebo, oracle) not ranked" in text
    assert "† differs from sd" in text
    assert text.index("Personalisation") < text.index("Semantic")


def test_latex_is_balanced_and_every_row_has_all_columns():
    text = latex(table2(made()), load_published())
    assert text.count("{") == text.count("}")  # those in text are written \{ and \}, in pairs here
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") >= 6
    for rule in ("toprule", "bottomrule"):
        assert text.count(f"\\{rule}") == text.count(r"\begin{tabular}")
    for body in re.findall(r"\\begin\{tabular\}\{([lc]+)\}(.*?)\\end\{tabular\}", text, re.S):
        columns, rows = len(body[0]), [x for x in body[1].splitlines() if x.endswith(r" \\")]
        for row in rows:
            spanned = sum(int(k) - 1 for k in re.findall(r"\\multicolumn\{(\d+)\}", row))
            assert len(re.findall(r"(?<!\\)&", row)) + 1 + spanned == columns, row
    assert r"\textbf{0.300}$^\dagger$ $\pm$ 0.010" in text
    assert r"\underline{0.200}" in text
    assert not re.search(r"\\\\\s*\[", text)  # LaTeX would take the bracket for a length
    assert not re.search("[Δ±†↑↓]", text)


def test_numbers_round_to_a_zero_without_sign():
    assert [number(x) for x in (-0.0004, -0.0006, 0.0, 12.345, -3.14159)] == [
        "0.000",
        "-0.001",
        "0.000",
        "12.35",
        "-3.142",
    ]


def test_text_is_escaped_for_latex():
    assert escaped("a_b & 5% #1 {x} ~^\\") == (
        r"a\_b \& 5\% \#1 \{x\} \textasciitilde{}\textasciicircum{}\textbackslash{}"
    )


def test_published_numbers_stand_apart(tmp_path):
    paths = {
        p.suffix: p for p in write_tables(table2(made()), tmp_path / "table2", published=load_published())
    }
    text = paths[".md"].read_text()
    ours, beside = text.split("**Published numbers")
    assert "-19.77" in beside
    assert "-19.77" not in ours
    assert "RAGAR, Table 2" not in ours
    assert "-19.77" not in paths[".csv"].read_text()
    assert "ragar-2" in paths[".tex"].read_text()


def test_csv_reads_back_to_the_same_numbers():
    table = table2(made())
    back = pd.read_csv(io.StringIO(frame(table).to_csv(index=False))).set_index(["metric", "variant"])
    assert back.loc[("cs", "ragar"), "value"] == 0.6
    assert back.loc[("cs", "sd"), "mark"] == "best"
    assert back.loc[("cis", "sd"), "reason"] == "unavailable: needs weights"
    assert np.isnan(back.loc[("cis", "sd"), "value"])
    assert bool(back.loc[("cs", "pmg"), "differs"])


def test_the_picture_shows_bold_and_underlined(tmp_path):
    figure = draw_picture(table2(made()))
    (axes,) = figure.axes
    bold = [t.get_text() for t in axes.texts if t.get_weight() == "bold"]
    assert bold == ["0.300†", "0.400†", "0.700", "0.700†"]
    thin = [line for line in axes.lines if line.get_linewidth() == 0.8 and line.get_color() == "black"]
    assert len(thin) == 3
    assert {t.get_text() for t in axes.texts} >= {"placebo", "control", "unavailable", "[0.200, 0.400]"}
    path = write_tables(table2(made()), tmp_path / "table2")[0]
    assert Image.open(path).width > 1000


def test_results_survive_their_file(tmp_path):
    results = made()
    results.write(tmp_path)
    assert markdown(table2(load(tmp_path))) == markdown(table2(results))


def test_results_of_another_command_are_told():
    with pytest.raises(DataError, match="results of evaluate are wanted, got judge"):
        table2(Results("judge", {}))


def ablations() -> Results:
    results = Results("evaluate", {"baseline": "ragar"})
    variants = {
        "ragar": "",
        "k0": "k=0",
        "k10": "k=10",
        "plain": "calibrator_weight=0",
        "literal": "reading=literal",
    }
    variants |= {"both": "k=0, reading=literal", "other": ""}
    for place, (variant, settings) in enumerate(variants.items()):
        for metric in ("delta_r[held-out]", "oracle_utility", "category_kept"):
            more = {"block": "personalisation", "settings": settings, "unit": ""}
            more["generator"] = "sd" if variant == "other" else "ragar"
            results.row(
                variant=variant, metric=metric, value=place, low=place - 1, high=place + 1, n=9, **more
            )
    return results


def test_ablations_are_told_apart_by_their_one_setting(tmp_path):
    rows = ablated(ablations())
    assert set(rows["variant"]) == {
        "ragar",
        "k0",
        "k10",
        "plain",
        "literal",
    }  # not both, not another generator
    assert dict(zip(rows["variant"], rows["setting"], strict=True))["literal"] == "reading"
    figure = _draw(
        rows, ["oracle_utility"], {"k": 5, "calibrator_weight": 0.5, "reading": "corrected"}, "Title"
    )
    k, others = figure.axes
    (line,) = [x for x in k.get_lines() if x.get_color() == "0.6"]
    assert line.get_xdata().tolist() == [0, 5, 10]
    assert line.get_ydata().tolist() == [1, 0, 2]
    names = [label.get_text() for label in others.get_xticklabels()]
    assert names == ["as it is", "calibrator_weight\n0", "reading\nliteral"]
    how = {"defaults": {"k": 5, "calibrator_weight": 0.5}}
    assert {p.suffix for p in ablation_figure(ablations(), tmp_path / "figure", **how)} == {".png", ".svg"}


def test_intervals_of_ablations_are_those_of_the_paired_difference(tmp_path):
    found = ablations()
    assert against_base(ablated(found), found).empty  # nothing is compared with ragar
    for variant in ("k0", "literal"):
        name = "oracle_utility_minus_ragar"
        found.row(variant=variant, metric=name, value=1, low=0.25, high=1.5, n=9, generator="ragar")
    rows = against_base(ablated(found), found).set_index(["variant", "metric"])
    assert {variant for variant, _ in rows.index} == {"ragar", "k0", "literal"}
    ours, theirs = rows.loc[("ragar", "oracle_utility")], rows.loc[("k0", "oracle_utility")]
    assert (ours["low"], ours["value"], ours["high"]) == (0, 0, 0)
    assert (theirs["low"], theirs["value"], theirs["high"]) == (0.25, 1, 1.5)
    figure = _draw(rows.reset_index(), ["oracle_utility"], {"k": 5}, "Title", paired=True)
    assert "paired" in figure.get_supxlabel()


def test_settings_that_all_variants_share_are_no_ablation():
    results = Results("evaluate", {"baseline": "a"})
    for variant, settings in {
        "a": "steps=1, k=3",
        "b": "steps=1, k=0",
        "c": "steps=2, k=0",
        "d": "k=3",
    }.items():
        more = {"block": "semantic", "settings": settings, "generator": "ragar"}
        results.row(variant=variant, metric="cs", value=0.5, **more)
    rows = ablated(results).set_index("variant")
    assert rows["setting"].to_dict() == {"d": "", "a": "steps"}
    results.rows = [
        {**row, "variant": {"a": "ragar"}.get(row["variant"], row["variant"])} for row in results.rows
    ]
    rows = ablated(results).set_index("variant")
    assert rows["setting"].to_dict() == {"ragar": "", "b": "k", "d": "steps"}
    assert rows.loc["b", "given"] == 0


def test_no_ablations_no_figure(tmp_path):
    with pytest.raises(DataError, match="variants of it that differ in one setting are wanted"):
        ablation_figure(made(), tmp_path / "figure")
