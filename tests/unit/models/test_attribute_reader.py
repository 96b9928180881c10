"""The attribute reader: it learns, is kept as it is, and does not care what stands beside a picture."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from recsim_gen.core.errors import DataError, MissingDependency, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.training_loop import Schedule
from recsim_gen.datasets.boutique.world import load
from recsim_gen.models.attribute_reader import ImageVerifier, oracle_utility
from recsim_gen.pretraining.source import open_source
from recsim_gen.pretraining.verifier import accuracy, pretrain, softened


@pytest.fixture
def verifier():
    torch.manual_seed(0)
    return ImageVerifier().eval()


@pytest.fixture
def pixels():
    return torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_it_is_small_and_kept_as_it_is(verifier, pixels, tmp_path):
    assert sum(p.numel() for p in verifier.parameters()) <= 500_000
    verifier.save_pretrained(tmp_path)
    again = ImageVerifier.from_pretrained(tmp_path)
    one, two = verifier.read(pixels), again.read(pixels)
    assert np.array_equal(one.codes, two.codes)
    assert np.array_equal(one.probability, two.probability)


def test_a_reading_does_not_depend_on_the_batch(verifier, pixels):
    together = verifier.read(pixels)
    alone = [verifier.read(pixels[i : i + 1]) for i in range(len(pixels))]
    assert np.array_equal(together.codes, np.concatenate([one.codes for one in alone]))
    assert np.allclose(together.probability, np.concatenate([one.probability for one in alone]), atol=1e-5)
    assert np.array_equal(together.codes, verifier.read(pixels, batch=4).codes)
    assert verifier.read(pixels[:0]).codes.shape == (0, 4)


def test_no_look_is_read_with_one_colour_twice(verifier):
    """Heads that agree on one colour: the less sure of them gives way."""
    with torch.no_grad():
        for head in verifier.heads.values():
            head.weight.zero_()
            head.bias.zero_()
        verifier.heads["main"].bias[6] = 5.0
        verifier.heads["second"].bias[6] = 2.0
        verifier.heads["second"].bias[4] = 1.0
    reading = verifier.read(torch.zeros(1, 3, 64, 64))
    assert reading.codes[0, 1:3].tolist() == [6, 4]


def test_oracle_utility_is_that_of_the_look_read(verifier, pixels):
    boutique = load(n_items=80, n_users=9)
    users = np.arange(6)
    wanted = boutique.utility(users, verifier.read(pixels).codes)
    assert np.array_equal(oracle_utility(verifier, boutique, users, pixels), wanted)


def test_softened_pictures_stay_pictures_and_follow_their_stream(pixels):
    one, two, other = (softened(pixels, Rng(seed).torch()) for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert one.shape == pixels.shape
    assert 0 <= float(one.min()) <= float(one.max()) <= 1


def test_a_few_steps_read_better_than_chance(tmp_path, monkeypatch):
    """Colours are learned first; chance is a tenth."""
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("recsim_gen.pretraining.source.N_TEST", 50)
    monkeypatch.setattr("recsim_gen.pretraining.source.HELD_OUT_LOOKS", 0.01)
    source = open_source(load(n_items=80, n_users=2), renders=200, rng=Rng(0))
    schedule = Schedule(steps=50, lr=2e-3, warmup=10)
    measured = pretrain(source, tmp_path / "out", rng=Rng(0), schedule=schedule)
    assert measured["accuracy_main"] > 0.3
    again = ImageVerifier.from_pretrained(tmp_path / "out" / "verifier")
    rows = source.rows("test")
    assert accuracy(again, source.pixels(rows), source.attributes[rows])["main"] > 0.3


def test_messages(verifier, tmp_path, pixels):
    with pytest.raises(MissingDependency, match=r"wanted config.json and model.safetensors"):
        ImageVerifier.from_pretrained(tmp_path)
    with pytest.raises(DataError, match=r"pixels must be \(B, 3, H, W\), got \(3, 64, 64\)"):
        verifier.read(pixels[0])
    verifier.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(DataError, match="must be the weights of a verifier"):
        ImageVerifier.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"attributes": {"main": ["red"]}}))
    with pytest.raises(DataError, match="must be a verifier of"):
        ImageVerifier.from_pretrained(tmp_path)


def test_a_catalogue_without_attributes_has_no_verifier(tmp_path):
    class Unknown:
        attributes = None

    with pytest.raises(SettingError, match="the catalogue names none"):
        pretrain(Unknown(), tmp_path, rng=Rng(0))
