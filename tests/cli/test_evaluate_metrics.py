"""Every metric asked for through ``python -m recsim_gen.evaluate``; where weights are large, by tiny ones.

The hub's cache and the folder of weights hold tiny random models of the same classes under the published
names, so that the command loads them as it would load those.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from command_line import call

from recsim_gen.core import results as results_of
from recsim_gen.core.registry import METRICS
from recsim_gen.core.results import Results
from recsim_gen.datasets.opening import open_data
from recsim_gen.encoders.features import make_encoder
from recsim_gen.metrics.aesthetic import HEADS, V2_FILE
from recsim_gen.metrics.clip_scores import VIT_B_32, VIT_L_14
from recsim_gen.metrics.delta_rank import METRICS as JUDGED
from recsim_gen.metrics.distribution import VIT_L_14_336
from recsim_gen.metrics.lpips import TRUNKS
from recsim_gen.metrics.presets import listed, plain_name
from recsim_gen.metrics.taste_verifier.metric import TasteVerifier, pictures_key
from recsim_gen.testing import tiny_models

SHOP = {"n_items": 90, "n_users": 45}
WIDTH = 24  # of the tiny dual encoders
VARIANTS = ("placebo", "original", "sd")
ASKED = [
    *JUDGED,
    "oracle_utility",
    "category_kept",
    "verifier[verifier]",
    "ssim",
    "ssim:torchmetrics",
    "ssim_history",
    "lpips",
    "lpips_history[random-squeeze]",
    "st_lpips",
    "st_lpips_history",
    "cps",
    "cps:pmg-bench",
    "cps[open_clip:vit-h-14]:pigeon",
    "cpis",
    "cs",
    "cis:x100",
    "diversity",
    "aesthetic",
    "aesthetic[vit_b_32]",
    "aesthetic:pmg-bench",
    "aesthetic_v2",
    "hpsv2[open_clip:vit-h-14]",
    "hpsv2.1[open_clip:vit-h-14]",
    "cmmd",
    f"frechet[{VIT_B_32}]",
]


def hub(folder: Path, *specs: str) -> None:
    """A cache of the hub that has a tiny CLIP under each of these names."""
    for spec in specs:
        repository = folder / "hub" / f"models--{spec.removeprefix('hf:').replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("0" * 40)
        (repository / "snapshots").mkdir()
        tiny_models.save_clip(repository / "snapshots" / ("0" * 40))


def weights(folder: Path) -> None:
    """Files that ``--weights`` is searched for."""
    import torchvision

    folder.mkdir()
    torch.manual_seed(0)
    torch.save(torchvision.models.alexnet(weights=None).state_dict(), folder / TRUNKS["alex"])
    for _, file in HEADS.values():
        torch.save(torch.nn.Linear(WIDTH, 1).state_dict(), folder / file)
    head = torch.nn.Sequential(torch.nn.Linear(WIDTH, 8), torch.nn.Linear(8, 1))
    torch.save(head.state_dict(), folder / V2_FILE)


def verifier(folder: Path) -> None:
    """An untrained one for the people of the shop."""
    data, encoder = open_data("boutique", **SHOP), make_encoder("pixels")
    people = np.unique(data.people)
    about = {"data": data.name, "people": people.tolist(), "pictures": pictures_key(data.catalog)}
    about |= {"encoder": "pixels", "encoder_fingerprint": encoder.fingerprint, "labels": "none"}
    about |= {"auc": (0.5, 0.4, 0.6), "auc_within": (0.5, 0.4, 0.6)}
    torch.manual_seed(0)
    width = encoder.encode_images([data.catalog.images.read(0)]).shape[1]
    TasteVerifier(len(people), width).save(folder, about)


def evaluate(here: Path, *argv: str) -> tuple[Results, str]:
    """What the command left and printed."""
    shop = [f"--data-settings.{key}={value}" for key, value in SHOP.items()]
    judges = ["--judges", "taste-seed0", "--force", "--baseline=original", "--seeds", "0", "--history=2"]
    process = call("evaluate", *shop, *judges, "--output=out", *argv, here=here, cache=here / "cache")
    assert process.returncode == 0, process.stderr
    return results_of.load(here / "out"), process.stdout


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    from recsim_gen.models.family import open_family

    here = tmp_path_factory.mktemp("here")
    hub(here / "hf", VIT_L_14, VIT_L_14_336, VIT_B_32)
    weights(here / "weights")
    tiny_models.save_open_clip(here / "vit-h-14")
    tiny_models.save_diffusion(here / "diffusion")
    embedded = {k: v for k, v in asdict(open_family().models).items() if v and v != "given"}
    models = {**embedded, "diffusion": str(here / "diffusion")}
    (here / "family.yaml").write_text(yaml.safe_dump({"models": models, "steps": 1}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(here / "cache"))
        verifier(here / "verifier")
        for name, value in {"HF_HOME": here / "hf", "HF_HUB_OFFLINE": 1, "TORCH_HOME": here}.items():
            patch.setenv(name, str(value))
        asked = ["--metrics", *ASKED, "--weights=weights", "--models=family.yaml", "--gen=original,sd"]
        yield evaluate(here, *asked, "--episodes=0")


def test_every_metric_is_asked_for():
    assert {plain_name(metric) for metric in ASKED} == {*METRICS, *JUDGED}


@pytest.mark.parametrize("metric", ASKED)
def test_it_has_a_number_for_every_method(metric, done):
    found, out = done
    name = f"{metric}[taste-seed0]" if metric in JUDGED else metric
    rows = {r["variant"]: r for r in found.rows if r["metric"] == name and r["seed"] is None}
    assert [*rows] == [*VARIANTS], [r.get("reason") for r in rows.values()]
    assert all(np.isfinite(row["value"]) for row in rows.values())
    assert all(row["n"] > 10 for row in rows.values())
    assert f"{metric}: unavailable" not in out
    if plain_name(metric) in ("cmmd", "frechet"):  # a set has no interval
        assert all(row["low"] is None for row in rows.values())
    elif metric != "diversity":  # which few people of a small shop share an item for
        assert all(row["low"] <= row["value"] <= row["high"] for row in rows.values())


def test_the_own_picture_is_what_it_is(done):
    """Laws that hold by any weights."""
    found, _ = done
    value = {(r["variant"], r["metric"]): r["value"] for r in found.rows if r["seed"] is None}
    for metric, own in {"lpips": 0, "st_lpips": 0, "ssim": 1, "cis:x100": 100}.items():
        assert value["original", metric] == pytest.approx(own, abs=1e-4)
    for metric in ("cmmd", f"frechet[{VIT_B_32}]"):
        assert value["original", metric] < value["placebo", metric] < value["sd", metric]
    assert value["sd", "cps"] != value["sd", "cps:pmg-bench"]
    assert any("keywords of tastes" in note for note in found.notes)


MISSING = {
    "lpips": ("alexnet-owt-7be5be79.pth", "BSD-3-Clause"),
    "cps": ("hf:openai/clip-vit-large-patch14", "MIT"),
    "cps:pigeon": ("open_clip:ViT-H-14/laion2b_s32b_b79k", "MIT"),
    "cpis:pmg-bench": ("hf:openai/clip-vit-base-patch32", "MIT"),
    "diversity": ("hf:openai/clip-vit-large-patch14", "MIT"),
    "cmmd": ("hf:openai/clip-vit-large-patch14-336", "MIT"),
    "aesthetic": ("sa_0_4_vit_l_14_linear.pth", "MIT"),
    "aesthetic_v2": ("sac+logos+ava1-l14-linearMSE.pth", "Apache-2.0"),
    "hpsv2": ("HPS_v2_compressed.pt", "Apache-2.0"),
    "hpsv2.1": ("HPS_v2.1_compressed.pt", "Apache-2.0"),
}


def test_what_is_missing_is_one_line_with_file_licence_and_place(tmp_path, monkeypatch):
    for name, value in {"HF_HOME": "hf", "HF_HUB_OFFLINE": 1, "TORCH_HOME": "torch"}.items():
        monkeypatch.setenv(name, str(tmp_path / str(value)) if name != "HF_HUB_OFFLINE" else "1")
    asked = ["--metrics", *MISSING, "frechet", "verifier", "--gen=original", "--episodes=4"]
    found, out = evaluate(tmp_path, *asked)
    reasons = {r["metric"]: r["reason"] for r in found.rows if r.get("reason")}
    assert {*reasons} == {*listed(asked[1:-2])}
    for metric, (file, licence) in MISSING.items():
        assert reasons[metric].startswith("unavailable: needs ")
        assert "\n" not in reasons[metric]
        assert file in reasons[metric]
        assert f"{licence} licence" in reasons[metric]
        assert any(place in reasons[metric] for place in ("put it into", "hf download", "local file"))
    assert sum("unavailable: needs" in line for line in out.splitlines()) == len(reasons)
    assert os.environ["HF_HUB_OFFLINE"] == "1"
