"""LAION's predictors give their published numbers; PMG-Bench's "aesthetic" is a length; HPSv2's box."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import ColourEncoder, colour_rows
from PIL import Image
from real_data import REAL

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.metrics.aesthetic import HEADS, V2_FILE, read_head
from recsim_gen.metrics.clip_scores import VIT_B_32, VIT_L_14
from recsim_gen.metrics.preference import letterbox
from recsim_gen.metrics.resources import Resources
from recsim_gen.metrics.scoring import open_metric, open_metrics
from recsim_gen.testing.tiny_models import save_open_clip

PUBLISHED = {
    "vit_b_32": [-1.47, 0.27, 1.99, 3.61, 5.09, 6.39, 7.67, 8.92, 9.92, 11.01],
    "vit_l_14": [-2.46, -0.14, 1.90, 3.58, 5.10, 6.47, 7.79, 9.05, 10.23, 11.30],  # measured
}


@pytest.fixture(autouse=True)
def own_cache(apart):
    """Features of other tests are not found."""


@pytest.mark.real
@pytest.mark.parametrize("backbone", HEADS)
def test_v1_gives_the_published_scores(backbone):
    folder = REAL / "laion_aesthetic"
    if not folder.is_dir():
        pytest.skip(f"no real data at {REAL} (RECSIM_REAL_DATA)")
    features = np.concatenate([np.load(folder / f"{backbone}_rating{i}.npy") for i in range(10)])
    head = read_head(folder / HEADS[backbone][1])
    assert head(features) == pytest.approx(PUBLISHED[backbone], abs=0.006)
    assert head(7 * features) == pytest.approx(head(features), abs=1e-5)  # only directions count


def save_heads(folder: Path) -> list[torch.nn.Module]:
    """V1 and V2 of random weights, for the 3 dimensions of `ColourEncoder`."""
    torch.manual_seed(0)
    folder.mkdir()
    one = torch.nn.Linear(3, 1)
    torch.save(one.state_dict(), folder / HEADS["vit_l_14"][1])
    sizes = [3, 8, 6, 4, 5, 1]
    layers = [torch.nn.Linear(a, b) for a, b in pairwise(sizes)]
    drop = torch.nn.Dropout(0.2)  # as published: numbers 0, 2, 4, 6, 7
    five = torch.nn.Sequential(layers[0], drop, layers[1], drop, layers[2], drop, layers[3], layers[4]).eval()
    torch.save({f"layers.{k}": x for k, x in five.state_dict().items()}, folder / V2_FILE)
    return [one, five]


def test_v1_and_v2_are_their_layers_on_unit_features(apart):
    nets = save_heads(apart / "weights")
    rows, colour = colour_rows(), ColourEncoder()
    resources = Resources(encoders={VIT_L_14: colour}, weights=apart / "weights")
    x = torch.from_numpy(rows.store.images(colour, rows.image))
    for name, net in zip(("aesthetic", "aesthetic_v2"), nets, strict=True):
        with torch.no_grad():
            wanted = net(torch.nn.functional.normalize(x, dim=1)).flatten().numpy()
        assert open_metric(name, resources)(rows) == pytest.approx(wanted, abs=1e-6)


def test_pmg_benchs_aesthetic_is_the_length_of_unnormalised_features(apart):
    """It doubles with the features, of which a true score knows the direction alone."""
    save_heads(apart / "weights")
    rows = colour_rows()
    found = {}
    for factor in (1.0, 2.0):
        colour = ColourEncoder(f"times {factor}", factor)
        resources = Resources(encoders={VIT_B_32: colour, VIT_L_14: colour}, weights=apart / "weights")
        found[factor] = [open_metric(name, resources) for name in ("aesthetic:pmg-bench", "aesthetic")]
    lengths, scores = ([found[factor][k](rows) for factor in (1.0, 2.0)] for k in (0, 1))
    assert lengths[0] == pytest.approx([255, 255, 255])
    assert lengths[1] == pytest.approx(2 * lengths[0])
    assert scores[1] == pytest.approx(scores[0])
    metric = found[1.0][0]
    assert (metric.name, metric.unit) == ("aesthetic:pmg-bench", "L2 norm")
    assert "not an aesthetic score" in metric.recipe.note


def test_without_heads_it_is_unavailable_and_says_where_they_go(apart):
    resources = Resources(weights=apart / "weights")
    found = open_metrics(["aesthetic", "aesthetic[vit_b_32]", "aesthetic_v2", "hpsv2", "hpsv2.1"], resources)
    files = [
        HEADS["vit_l_14"][1],
        HEADS["vit_b_32"][1],
        V2_FILE,
        "HPS_v2_compressed.pt",
        "HPS_v2.1_compressed.pt",
    ]
    for metric, file in zip(found, files, strict=True):
        assert str(metric).startswith(f"unavailable: needs {file} (")
        assert str(metric).endswith(f"put it into {apart / 'weights'}")


def test_a_head_of_another_width_or_shape_is_told(apart):
    save_heads(apart / "weights")
    head = read_head(apart / "weights" / V2_FILE)
    with pytest.raises(DataError, match=r"features must be \(B, 3\), got \(2, 4\): made by another backbone"):
        head(np.ones((2, 4)))
    torch.save({"weight": torch.ones(2, 3), "bias": torch.ones(2)}, apart / "two.pth")
    with pytest.raises(DataError, match="one number is wanted in the end, got 2"):
        read_head(apart / "two.pth")
    torch.save({"weight": torch.ones(2, 3)}, apart / "no_bias.pth")
    with pytest.raises(DataError, match="linear layers that follow each other are wanted"):
        read_head(apart / "no_bias.pth")


def test_a_head_belongs_to_its_backbone():
    with pytest.raises(SettingError, match="aesthetic has no head for 'vit_b_16'"):
        open_metric("aesthetic[vit_b_16]")
    with pytest.raises(SettingError, match="aesthetic_v2 was trained on"):
        open_metric("aesthetic_v2[vit_b_32]")


def test_a_pickle_in_a_weight_file_is_not_run(apart):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(apart / "run"),)

    torch.save({"weight": Evil()}, apart / "evil.pth")
    with pytest.raises(DataError, match=r"evil\.pth: a checkpoint of tensors is wanted"):
        read_head(apart / "evil.pth")
    assert not (apart / "run").exists()


def test_hpsv2_sees_the_whole_picture_in_a_black_square():
    wide = Image.new("RGB", (100, 50), (255, 255, 255))
    seen = np.asarray(letterbox(wide, 224))
    assert seen.shape == (224, 224, 3)
    assert (seen[:56] == 0).all()
    assert (seen[56:168] == 255).all()
    assert (seen[168:] == 0).all()


def test_hpsv2_is_the_cosine_with_the_prompt(tmp_path):
    spec = f"open_clip:{save_open_clip(tmp_path / 'clip')}"
    resources = Resources()
    metric = open_metric(f"hpsv2[{spec}]", resources)
    clip, rows = resources.encoder(spec), colour_rows()
    x = clip.encode_images([letterbox(rows.store.album.read(i), 224) for i in rows.image])
    text = clip.encode_texts(rows.prompt.tolist())
    wanted = (x * text).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(text, axis=1)
    assert metric(rows) == pytest.approx(wanted, abs=1e-6)
    assert metric.recipe.note == "compares only pictures of the same prompt"
