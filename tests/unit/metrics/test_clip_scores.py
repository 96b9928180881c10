"""CPS, CPIS, CS, CIS and diversity: cosines by hand, each recipe's quirk, every feature made once."""

from __future__ import annotations

import numpy as np
import pytest
from pictures import ColourEncoder, colour_rows, picture_rows

from recsim_gen.core.errors import SettingError
from recsim_gen.encoders.huggingface import HuggingFace
from recsim_gen.metrics.clip_scores import VIT_B_32, VIT_H_14, VIT_L_14
from recsim_gen.metrics.diversity import between_users
from recsim_gen.metrics.resources import Resources
from recsim_gen.metrics.rows import Rows
from recsim_gen.metrics.scoring import Unavailable, open_metric, open_metrics, score_images
from recsim_gen.testing.tiny_models import save_clip

HALF = 1 / np.sqrt(2)
GREY = 1 / np.sqrt(3)


@pytest.fixture(autouse=True)
def own_cache(apart):
    """Features of other tests are not found."""


def scored(spec: str, rows: Rows | None = None, **encoders) -> np.ndarray:
    colour = ColourEncoder()
    given = {"colour": colour, VIT_L_14: colour, VIT_B_32: colour, VIT_H_14: colour, **encoders}
    return open_metric(spec, Resources(encoders=given))(rows or colour_rows())


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ("cps[colour]", [(1 + 0) / 2, 0, np.nan]),  # each caption of the history by itself
        ("cpis[colour]", [(1 + 0) / 2, 1, np.nan]),
        ("cs[colour]", [1, HALF, 0]),
        ("cis[colour]", [1, GREY, np.nan]),
        ("hpsv2[colour]", [1, 0, 0]),
    ],
)
def test_cosines_by_hand(spec, wanted):
    assert scored(spec) == pytest.approx(wanted, nan_ok=True, abs=1e-6)


@pytest.mark.parametrize("name", ["cps", "cpis", "cs", "cis"])
def test_x100_and_pigeon_are_times_100(name):
    ours = scored(name)
    assert scored(f"{name}:x100") == pytest.approx(100 * ours, nan_ok=True)
    assert scored(f"{name}:pigeon") == pytest.approx(100 * ours, nan_ok=True)


def test_pmg_bench_joins_the_keywords_into_one_text():
    read = []

    class Reads(ColourEncoder):
        def encode_texts(self, texts):
            read.extend(texts)
            return super().encode_texts(texts)

    rows = colour_rows()
    assert scored("cps:pmg-bench", rows, **{VIT_B_32: Reads("reads")}) == pytest.approx([1, 1, 0])
    assert sorted(read) == ["0, 0, 255", "0, 255, 0", "255, 0, 0"]


def test_pmg_bench_has_neither_cs_nor_cis():
    for name in ("cs", "cis"):
        with pytest.raises(SettingError, match=f"{name} has no recipe 'pmg-bench'"):
            scored(f"{name}:pmg-bench")


def test_each_recipe_names_its_backbone():
    colour = ColourEncoder()
    resources = Resources(encoders={VIT_L_14: colour, VIT_B_32: colour, VIT_H_14: colour})
    found = [
        open_metric(f"cpis{recipe}", resources).recipe.backbone for recipe in ("", ":pmg-bench", ":pigeon")
    ]
    assert found == [VIT_L_14, VIT_B_32, VIT_H_14]


def test_the_mean_of_cosines_is_not_the_cosine_of_the_mean():
    """Red, with a history of red and green: ½, where the mean of the history would give 0.71."""
    assert scored("cpis[colour]")[0] == pytest.approx(0.5)


def test_a_real_clip_by_hand(tmp_path):
    clip = HuggingFace(str(save_clip(tmp_path / "clip")))
    rows = picture_rows(n=2)
    rows = Rows(
        rows.store, rows.image, history=rows.history, target_text=np.array(["a red shirt", "the armchair"])
    )
    x, text = (
        clip.encode_images([rows.store.album.read(i) for i in rows.image]),
        clip.encode_texts(rows.target_text),
    )
    resources = Resources(encoders={"tiny": clip})
    wanted = (x * text).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(text, axis=1)
    assert open_metric("cs[tiny]", resources)(rows) == pytest.approx(wanted, abs=1e-6)
    shown = clip.encode_images([rows.store.album.read(i) for i in rows.history[1]])
    cosine = shown @ x[1] / np.linalg.norm(shown, axis=1) / np.linalg.norm(x[1])
    assert open_metric("cpis[tiny]", resources)(rows)[1] == pytest.approx(cosine.mean(), abs=1e-6)
    assert open_metric("cs[tiny]", resources).recipe.weights == clip.fingerprint


def test_every_picture_and_text_is_read_once_by_all_metrics():
    encoder, rows = ColourEncoder(), colour_rows()
    names = ["cps", "cpis", "cs", "cis", "cpis:x100", "diversity", "cs:pigeon"]
    specs = [f"{name}[colour]{colon}{recipe}" for name, colon, recipe in (n.partition(":") for n in names)]
    frame = score_images(rows, open_metrics(specs, Resources(encoders={"colour": encoder})))
    assert list(frame.columns) == ["variant", *specs]
    assert encoder.pictures_read == len(rows.store.album) == 3
    assert encoder.texts_read == len({"255 0 0", "0 255 0", "255 255 0"})


def test_a_second_run_reads_nothing():
    first, again = ColourEncoder(), ColourEncoder()
    wanted, found = (scored("cpis[colour]", colour=encoder) for encoder in (first, again))
    assert (first.pictures_read, again.pictures_read) == (2, 0)  # red and green
    assert found == pytest.approx(wanted, nan_ok=True)


def test_an_encoder_without_texts_can_give_cpis_but_not_cps():
    pixels = Resources(encoders={"pixels": "pixels"})
    assert open_metric("cpis[pixels]", pixels)(picture_rows()).shape == (4,)
    with pytest.raises(
        SettingError, match=r"cps\[pixels\]: an encoder of pictures and texts is wanted, got 'pixels'"
    ):
        open_metric("cps[pixels]", pixels)


def test_without_weights_it_is_unavailable(monkeypatch, apart):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(apart / "hub"))
    (metric,) = open_metrics([f"cps[hf:{apart}/none]"])
    assert isinstance(metric, Unavailable)
    assert str(metric).startswith(f"unavailable: needs hf:{apart}/none")


def test_rows_without_keywords_say_so():
    rows = picture_rows()
    found = open_metrics(
        ["cps[colour]", "cpis[colour]"], Resources(encoders={"colour": ColourEncoder()}), has=rows.has
    )
    assert str(found[0]) == "unavailable: needs captions of the history"
    assert not isinstance(found[1], Unavailable)


def test_diversity_by_brute_force():
    draw = np.random.default_rng(0)
    x = draw.standard_normal((30, 4))
    method, item, user = draw.integers(2, size=30), draw.integers(3, size=30), draw.integers(4, size=30)
    found = between_users(x, method, item, user)
    cosine = np.corrcoef(np.c_[x, -x])  # centred rows have the same direction
    for i in range(30):
        others = (method == method[i]) & (item == item[i]) & (user != user[i])
        assert found[i] == pytest.approx(
            1 - cosine[i, others].mean() if others.any() else np.nan, nan_ok=True
        )


def test_diversity_is_0_where_everyone_gets_the_same_and_nan_where_there_is_nobody_else():
    found = scored("diversity[colour]")
    assert found == pytest.approx([1, 1, np.nan], nan_ok=True)  # red for one, green for another; b drew once
    rows = colour_rows()
    same = Rows(rows.store, rows.image[[0, 0, 0]], item=rows.item, user=np.array([0, 1, 2]))
    assert scored("diversity[colour]", same) == pytest.approx(0, abs=1e-7)


def test_pictures_of_the_same_user_are_no_diversity():
    x = np.array([[1.0, 0], [0, 1], [1, 0]])
    assert between_users(x, np.zeros(3), np.zeros(3), np.array([0, 0, 1])) == pytest.approx([0, 1, 0.5])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cpsi", r"unknown metric 'cpsi'\. Did you mean 'cps'\?"),
        ("cps:pmgbench", "metric 'cps:pmgbench'|cps has no recipe 'pmgbench'. Did you mean 'pmg-bench'?"),
        ("cps[", "a metric must be NAME, NAME"),
        ("cps[nothing]", "unknown encoder 'nothing'"),
    ],
)
def test_what_is_asked_for_wrongly_is_told(spec, message):
    with pytest.raises(SettingError, match=message):
        open_metric(spec)
