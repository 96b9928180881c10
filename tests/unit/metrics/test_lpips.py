"""LPIPS agrees with the package; without the network's weights there is no number of its name."""

from __future__ import annotations

import lpips
import numpy as np
import pytest
import torch
from pictures import picture_rows, random_pictures

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.metrics.album import Album
from recsim_gen.metrics.feature_store import FeatureStore
from recsim_gen.metrics.lpips import TRUNKS, Perceptual
from recsim_gen.metrics.resources import Resources
from recsim_gen.metrics.rows import Rows
from recsim_gen.metrics.scoring import Unavailable, open_metric, open_metrics


@pytest.fixture(autouse=True)
def without_downloads(apart, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(apart / "torch"))


def by_package(model, rows: Rows, other: np.ndarray) -> np.ndarray:
    """The package's number of each pair, one pair at a time."""
    size = tuple(rows.store.album.sizes[other[0]])
    x, y = rows.store.pixels(rows.image, size), rows.store.pixels(other, size)
    with torch.no_grad():
        return np.array([float(model(x[[i]], y[[i]], normalize=True)) for i in range(len(x))])


@pytest.mark.parametrize("net", TRUNKS)
def test_agrees_with_the_package(net):
    metric = open_metric(f"lpips[random-{net}]")
    model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    model.net.load_state_dict(metric._distance.model.net.state_dict())
    rows = picture_rows(n=3, size=(64, 40), other=(48, 56))
    found = metric(rows)
    assert found == pytest.approx(by_package(model, rows, rows.target), abs=1e-6)
    assert found.min() > 1e-4  # random weights tell pictures apart


def test_history_is_the_mean_over_its_pictures():
    rows = picture_rows(n=3, size=(40, 40))
    metric = open_metric("lpips[random-alex]")
    first, second = (metric(Rows(rows.store, rows.image, target=rows.history[:, k])) for k in (0, 1))
    found = open_metric("lpips_history[random-alex]")(rows)
    assert found == pytest.approx(np.nanmean([first, second], axis=0), abs=1e-7)


def test_the_distance_to_itself_is_0_and_random_weights_are_the_same_every_time():
    rows = picture_rows(n=2, size=(40, 40))
    metric = open_metric("lpips[random-alex]")
    assert metric(Rows(rows.store, rows.image, target=rows.image)) == pytest.approx(0)
    again = open_metric("lpips[random-alex]")
    assert again.recipe.weights == metric.recipe.weights
    assert again(rows).tolist() == metric(rows).tolist()
    assert "not LPIPS" in metric.recipe.note


@pytest.mark.parametrize("spec", ["lpips", "lpips[vgg]", "lpips:pmg-bench", "lpips_history[squeeze]"])
def test_without_weights_it_is_unavailable_and_says_how_to_get_them(spec, apart):
    metric, random = open_metrics([spec, "lpips[random-alex]"], Resources(weights=apart / "weights"))
    assert isinstance(metric, Unavailable)
    assert str(metric).startswith("unavailable: needs ")
    assert "torchvision" in str(metric)
    assert str(apart / "weights") in str(metric)
    assert np.isnan(metric(picture_rows(n=2))).all()
    assert random.name == "lpips[random-alex]"


def test_weights_in_the_folder_are_used(apart):
    import torchvision

    torch.manual_seed(5)
    state = torchvision.models.alexnet(weights=None).state_dict()
    (apart / "weights").mkdir()
    torch.save(state, apart / "weights" / TRUNKS["alex"])
    metric = open_metric("lpips", Resources(weights=apart / "weights"))
    model = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    model.net.load_state_dict({k: state["features." + k.partition(".")[2]] for k in model.net.state_dict()})
    rows = picture_rows(n=2, size=(40, 40))
    assert metric(rows) == pytest.approx(by_package(model, rows, rows.target), abs=1e-6)
    assert metric.recipe.weights != open_metric("lpips[random-alex]").recipe.weights


def test_a_broken_or_foreign_weight_file_is_told(apart):
    folder = apart / "weights"
    folder.mkdir()
    (folder / TRUNKS["alex"]).write_bytes(b"no checkpoint")
    with pytest.raises(DataError, match=f"{TRUNKS['alex']}: a checkpoint of tensors is wanted"):
        open_metric("lpips", Resources(weights=folder))
    torch.save({"weight": torch.zeros(2)}, folder / TRUNKS["alex"])
    with pytest.raises(DataError, match="torchvision's weights of alex are wanted, got others"):
        open_metric("lpips", Resources(weights=folder))


def test_pmg_bench_and_pigeon_take_vgg(monkeypatch):
    taken = []
    monkeypatch.setattr(Perceptual, "__init__", lambda self, backbone, resources: taken.append(backbone))
    monkeypatch.setattr(Perceptual, "fingerprint", "", raising=False)
    sizes = [open_metric(f"lpips{recipe}").recipe.resize for recipe in ("", ":pmg-bench", ":pigeon")]
    assert taken == ["alex", "vgg", "vgg"]
    assert sizes == [
        "to the real picture's size, bicubic",
        "to 512 x 512, bicubic",
        "to the real picture's size, bilinear",
    ]


def test_an_unknown_network_is_told():
    with pytest.raises(SettingError, match=r"unknown backbone 'alexnet' of lpips\. Did you mean 'alex'\?"):
        open_metric("lpips[alexnet]")


def test_a_picture_too_small_is_refused():
    store = FeatureStore(Album())
    a, b = store.album.add_images(random_pictures(2, (31, 40)))
    with pytest.raises(DataError, match="LPIPS wants pictures of at least 32 x 32 pixels, got 31 x 40"):
        open_metric("lpips[random-alex]")(Rows(store, np.array([a]), target=np.array([b])))
