"""ST-LPIPS is the package's number, takes a shift for little and noise for much, and says what it needs."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from pictures import picture_rows, random_pictures

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.metrics import st_lpips
from recsim_gen.metrics.album import Album
from recsim_gen.metrics.feature_store import FeatureStore
from recsim_gen.metrics.rows import Rows
from recsim_gen.metrics.scoring import Unavailable, open_metric, open_metrics

pytestmark = pytest.mark.usefixtures("apart")


@pytest.mark.parametrize("net", st_lpips.NETWORKS)
def test_agrees_with_the_package(net, monkeypatch):
    for name, attribute in {"torchsummary": "summary", "IPython": "embed"}.items():  # which it imports unused
        unused = ModuleType(name)
        setattr(unused, attribute, None)
        monkeypatch.setitem(sys.modules, name, unused)
    from stlpips_pytorch import stlpips

    model = stlpips.LPIPS(net=net, variant="shift_tolerant", verbose=False)
    rows = picture_rows(n=2, size=(64, 40), other=(48, 56))
    size = tuple(rows.store.album.sizes[rows.target[0]])
    x, y = rows.store.pixels(rows.image, size), rows.store.pixels(rows.target, size)
    with torch.no_grad():
        theirs = [float(model(x[[i]], y[[i]], normalize=True)) for i in range(len(x))]
    found = open_metric(f"st_lpips[{net}]")(rows)
    assert found == pytest.approx(theirs, abs=1e-6)
    assert found.min() > 0.01


def test_itself_is_0_a_shift_is_near_noise_is_far():
    """Real weights order what people would."""
    draw = np.random.default_rng(0)
    (image,) = random_pictures(1, (66, 66))
    pixels = np.asarray(image)
    own, shifted = pixels[:64, :64], pixels[1:65, 1:65]
    noisy = np.clip(own + draw.normal(0, 40, own.shape), 0, 255).astype(np.uint8)
    from PIL import Image

    store = FeatureStore(Album())
    real, *others = store.album.add_images([Image.fromarray(x) for x in (own, shifted, noisy)]).tolist()
    rows = Rows(store, np.array([real, *others]), target=np.full(3, real), history=np.full((3, 1), real))
    value = open_metric("st_lpips")(rows)
    assert value[0] == pytest.approx(0, abs=1e-9)
    assert value[0] < value[1] < value[2] / 5
    assert open_metric("st_lpips_history:x100")(rows) == pytest.approx(100 * value)


def test_without_the_package_one_line_says_so(monkeypatch):
    monkeypatch.setattr(st_lpips, "find_spec", lambda _: None)
    (metric,) = open_metrics(["st_lpips"])
    assert isinstance(metric, Unavailable)
    assert str(metric) == (
        "unavailable: needs alex_shift_tolerant.pth, which the package stlpips-pytorch carries (BSD-2-Clause "
        "licence): run pip install 'recsim-gen[metrics]'"
    )


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape"])
def test_weights_are_taken_key_by_key(fault, tmp_path, monkeypatch):
    state = torch.load(st_lpips._shipped("alex_shift_tolerant.pth"), map_location="cpu", weights_only=True)
    key = "net.slice3.9.weight"
    if fault == "missing":
        del state[key]
    elif fault == "unknown":
        state["net.slice3.77.weight"] = state[key]
    else:
        state[key] = state[key][:5]
    torch.save(state, tmp_path / "x.pth")
    monkeypatch.setattr(st_lpips, "_shipped", lambda _: tmp_path / "x.pth")
    with pytest.raises(DataError, match="the weights of alex are wanted, got others"):
        open_metric("st_lpips")


def test_an_unknown_network_is_told():
    with pytest.raises(SettingError, match=r"unknown backbone 'squeeze' of st_lpips\."):
        open_metric("st_lpips[squeeze]")
