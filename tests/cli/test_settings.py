"""``recsim-gen settings NAME``: what there is to set, by whatever name a part goes."""

from __future__ import annotations

import pytest

from recsim_gen.core.config import run
from recsim_gen.core.registry import DATASETS, GENERATORS, RANKERS, SUBJECT_GENERATORS
from recsim_gen.core.specs import parts_of
from recsim_gen.settings import main


def said(capsys, *argv: str) -> str:
    assert run(main, list(argv)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        (
            "micro",
            ["ranker micro: --ranker-settings.NAME VALUE\n", "  knn_k (a whole number; default: 10)\n"],
        ),
        ("micro", ["  recipe published-code\n      user_item_norm row-self-loop, "]),
        ("micro:published-code", ["  stopping_step (a whole number; default: 10)\n"]),
        ("ragar", ["generator ragar: --gen-settings.NAME VALUE\n", "  recipe paper\n"]),
        (
            "dreambooth",
            [
                "subject-driven method dreambooth: identity --gen dreambooth:NAME=VALUE\n",
                "  steps (a whole number; default: 200)\n",
                "  recipe paper\n",
            ],
        ),
        ("csv:shop", ["data csv:shop: --data-settings.NAME VALUE\n", "  title_column (text or null;"]),
        ("tiny_ranker:Favourite", ["ranker tiny_ranker:Favourite: ", "  item (a whole number; "]),
        ("tint:Tint", ["generator tint:Tint: ", "  strength (a number; default: 0.5)\n"]),
        (
            "digits:shop",
            [
                "data digits:shop: ",
                "  n_items (a whole number; default: 1000)\n",
                "  split (one of leave-last-out, ",
            ],
        ),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_all_that_can_be_set_is_printed_with_the_recipes(name, texts, capsys):
    out = said(capsys, name)
    for text in texts:
        assert text in out
    assert out == said(capsys, f"--name={name}")


def test_every_name_is_listed_and_is_known_by_its_kind(capsys):
    lines = [line.split() for line in said(capsys).splitlines()]
    tables = {"rankers": RANKERS, "generators": GENERATORS, "subjects": SUBJECT_GENERATORS, "data": DATASETS}
    assert lines == [[kind, *table] for kind, table in tables.items()]
    kinds = ("ranker", "generator", "subject-driven method", "data")
    for (_, *names), kind in zip(lines, kinds, strict=True):
        assert all(kind in [spec.what for spec in parts_of(name)] for name in names)


def test_a_name_of_two_parts_prints_both(capsys):
    out = said(capsys, "ip_adapter")
    assert "generator ip_adapter: --gen-settings.NAME VALUE\n" in out
    assert "subject-driven method ip_adapter: identity --gen ip_adapter:NAME=VALUE\n" in out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mcro", "unknown ranker, generator or data 'mcro'. Did you mean 'micro'?"),
        ("ragar_tast", "Did you mean 'ragar_taste'?"),
        ("mcro:published-code", "no module 'mcro'. Did you mean 'micro'?"),
        ("micro:publshed", "unknown recipe 'publshed' of micro. Did you mean 'published-code'?"),
        ("tint:Tnt", "'tint' has no 'Tnt'"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(name, message, capsys):
    assert run(main, [name]) == 2
    assert message in capsys.readouterr().err
