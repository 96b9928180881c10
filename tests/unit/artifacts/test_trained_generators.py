"""Generators trained once and pictures drawn once, found again by what they depend on."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
from PIL import Image

from recsim_gen.artifacts import drawn_images as generated
from recsim_gen.artifacts.drawn_images import images_for, read_provenance
from recsim_gen.artifacts.trained_generators import (
    Training,
    ready_generator,
    train_missing,
    trained_generator,
)
from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import GeneratorSpec
from recsim_gen.datasets.boutique import world as boutique
from recsim_gen.datasets.episodes import training_episodes
from recsim_gen.datasets.image_sets import read_images
from recsim_gen.datasets.manifests import read_manifest
from recsim_gen.models.family import open_family
from recsim_gen.testing import tiny_models

SETTINGS = {"steps": 3, "batch_size": 2, "images": 2}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small shop, a family of tiny random models, and the shop's training episodes."""
    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(folder / "cache"))
        shop = boutique.load(n_items=80, n_users=12)
        shop.catalog.fingerprint  # noqa: B018 - draws the pictures
    family = open_family(tiny_models.save_family(folder / "family"))
    return shop, replace(family, steps=2), training_episodes(shop)


@pytest.fixture
def world(small, tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))
    return small


def trained(world, **more):
    shop, family, episodes = world
    how = {"models": family, "device": "cpu", **more}
    spec = GeneratorSpec("ip_adapter", how.pop("settings", SETTINGS))
    return trained_generator(spec, how.pop("catalog", shop.catalog), how.pop("episodes", episodes), **how)


def counted(monkeypatch, owner, name):
    calls, undisturbed = [], getattr(owner, name)

    def count(self, *args, **kwargs):
        calls.append(1)
        return undisturbed(self, *args, **kwargs)

    monkeypatch.setattr(owner, name, count)
    return calls


def test_the_same_training_is_done_once(world, tmp_path, monkeypatch):
    from generators.denoising import Denoising

    steps = counted(monkeypatch, Denoising, "loss")
    one, again = trained(world), trained(world)
    assert len(steps) == SETTINGS["steps"]
    assert one.fingerprint == again.fingerprint
    assert len(list((tmp_path / "cache" / "generators").iterdir())) == 1  # and no work folder
    shop, _, episodes = world
    others = [
        {"seed": 1},
        {"settings": {**SETTINGS, "lr": 0.1}},
        {"episodes": episodes[:-1]},
        {"catalog": replace(shop.catalog, captions=shop.catalog.titles)},
    ]
    found = {trained(world, **other).fingerprint for other in others}
    assert len(steps) == SETTINGS["steps"] * (1 + len(others))
    assert len({one.fingerprint, *found}) == 1 + len(others)


def test_generators_trained_side_by_side_are_those_trained_one_by_one(world, tmp_path, monkeypatch):
    """What was trained before is not trained again; controls and what lacks its ranker are left out."""
    shop, family, episodes = world
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    one_by_one = [trained(world, seed=seed).fingerprint for seed in (0, 1)]
    folder = tmp_path / "cache" / "generators"
    shutil.rmtree(folder)
    adapter = GeneratorSpec("ip_adapter", SETTINGS)
    trainings = [Training(adapter, shop.catalog, None, seed) for seed in (0, 1)]
    others = [Training(GeneratorSpec(name), shop.catalog, None, 0) for name in ("oracle", "ragar")]
    train_missing([*trainings, *others, trainings[0]], episodes, models=family, device="cpu")
    assert len([*folder.iterdir()]) == 2
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    train_missing(trainings, episodes, models=family, device="cpu")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert [trained(world, seed=seed).fingerprint for seed in (0, 1)] == one_by_one


def test_as_many_are_trained_at_once_as_memory_lasts(world, tmp_path, monkeypatch):
    shop, family, episodes = world
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=3 * 2**30))
    adapter = GeneratorSpec("ip_adapter", SETTINGS)
    train_missing(
        [Training(adapter, shop.catalog, None, seed) for seed in (0, 1)],
        episodes,
        models=family,
        device="cpu",
    )
    assert not (tmp_path / "cache" / "generators").exists()


def test_a_generator_whose_training_changed_is_trained_anew(world, monkeypatch):
    from generators.denoising import Denoising
    from generators.ip_adapter import IPAdapter

    steps = counted(monkeypatch, Denoising, "loss")
    trained(world)
    monkeypatch.setattr(IPAdapter, "training_version", IPAdapter.training_version + 1)
    for _ in range(2):
        trained(world)
    assert len(steps) == 2 * SETTINGS["steps"]


def test_features_and_a_ranker_that_is_not_used_do_not_train_again(world, monkeypatch):
    from generators.denoising import Denoising

    steps = counted(monkeypatch, Denoising, "loss")
    shop = world[0]
    other = shop.catalog.with_features("image", None, [[float(k)] for k in range(len(shop.catalog))])
    trained(world)
    trained(world, catalog=other, ranker=object())
    assert len(steps) == SETTINGS["steps"]


def test_a_killed_training_goes_on(world, tmp_path, monkeypatch):
    from generators.denoising import Denoising

    whole = trained(world).fingerprint
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr("recsim_gen.core.training_loop.SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    undisturbed, calls = Denoising.loss, []

    def killed(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return undisturbed(self, *args, **kwargs)

    monkeypatch.setattr(Denoising, "loss", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(world)
    assert trained(world).fingerprint == whole
    assert len(calls) == 1 + SETTINGS["steps"]  # what was done is not done again


def test_one_that_learns_nothing_is_fitted_and_not_kept(world, tmp_path):
    shop, family, episodes = world
    made = trained_generator("sd", shop.catalog, episodes, models=family, device="cpu")
    ready = ready_generator(GeneratorSpec("sd"), None, shop, models=family)
    assert made.fingerprint == ready.fingerprint
    assert not (tmp_path / "cache" / "generators").exists()


def test_a_ranker_that_is_wanted_and_not_given_is_told(world, monkeypatch):
    from generators.sd import StableDiffusion

    monkeypatch.setattr(StableDiffusion, "uses_ranker", True)
    with pytest.raises(SettingError, match=r"sd learns from a ranker's scores.*--judges"):
        trained_generator("sd", world[0].catalog, world[2], models=world[1])


def test_a_picture_is_drawn_once_whoever_asks(world, monkeypatch):
    from generators.placebo import Placebo

    draws = counted(monkeypatch, Placebo, "draw")
    shop = world[0]
    placebo = Placebo().fit(shop.catalog, (), rng=Rng(0))
    few, more = shop.episodes[:2], shop.episodes[1:5]
    one = images_for(placebo, shop, few, seed=3)
    two = images_for(placebo, shop, more, seed=3)
    assert len(draws) == 5  # the second episode's was there
    for manifest, episodes in ((one, few), (two, more)):
        found = read_images(manifest, shop)
        asked = sorted((e.user, e.reference) for e in episodes)
        assert sorted(zip(found.user.tolist(), found.item.tolist(), strict=True)) == asked
        assert read_manifest(manifest.path) == manifest
    both = shop.episodes[1]
    (path,) = {
        manifest.folder / file
        for manifest in (one, two)
        for file, made in manifest.images.items()
        if made.episode == both.id
    }
    drawn = placebo.generate([both], rng=Rng(3)).pixels[0].numpy()
    with Image.open(path) as image:
        assert (drawn.transpose(1, 2, 0) * 255).round().astype("uint8").tobytes() == image.tobytes()
    assert images_for(placebo, shop, few, seed=3) == one
    assert len(draws) == 6


def test_other_noise_or_another_history_is_drawn(world, monkeypatch):
    from generators.placebo import Placebo

    shop = world[0]
    placebo = Placebo().fit(shop.catalog, (), rng=Rng(0))
    draws = counted(monkeypatch, Placebo, "draw")
    (episode,) = shop.episodes[:1]
    shorter = replace(episode, history=episode.history[1:])
    lists = [images_for(placebo, shop, [e], seed=s) for e in (episode, shorter) for s in (0, 1)]
    files = {manifest.folder / file: made for manifest in lists for file, made in manifest.images.items()}
    assert len({manifest.path for manifest in lists}) == len(files) == len(draws) == 4
    assert all(read_provenance(path) == made for path, made in files.items())
    assert [(p.episode, p.seed, p.stream) for p in files.values()] == [
        (episode.id, 0, s) for s in (0, 1, 0, 1)
    ]


def test_a_kept_picture_that_is_not_what_it_should_be_is_drawn_again(world, monkeypatch):
    from generators.placebo import Placebo

    shop = world[0]
    placebo = Placebo().fit(shop.catalog, (), rng=Rng(0))
    draws = counted(monkeypatch, Placebo, "draw")
    manifest = images_for(placebo, shop, shop.episodes[:2], seed=0)
    one, other = (manifest.folder / file for file in manifest.images)
    right = [one.read_bytes(), other.read_bytes()]
    one.write_bytes(right[1])
    other.write_bytes(b"no picture")
    assert images_for(placebo, shop, shop.episodes[:2], seed=0) == manifest
    assert [one.read_bytes(), other.read_bytes()] == right
    assert len(draws) == 4


def test_killed_drawing_goes_on(world, monkeypatch):
    from generators.placebo import Placebo

    shop = world[0]
    placebo = Placebo().fit(shop.catalog, (), rng=Rng(0))
    undisturbed, calls = Placebo.draw, []

    def killed(self, *args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return undisturbed(self, *args)

    monkeypatch.setattr(generated, "AT_ONCE", 1)
    monkeypatch.setattr(Placebo, "draw", killed)
    with pytest.raises(KeyboardInterrupt):
        images_for(placebo, shop, shop.episodes[:4], seed=0)
    manifest = images_for(placebo, shop, shop.episodes[:4], seed=0)
    assert len(calls) == 5
    assert len(manifest.images) == len(list(manifest.folder.rglob("*.png"))) == 4


def test_a_generator_sees_pictures_as_the_catalogue_was_encoded(world):
    """RAGAR's reward must come from the encoder that the ranker knows; nobody has to say it twice."""
    from recsim_gen.core.types import Catalog
    from recsim_gen.encoders.features import encode

    shop = world[0]
    encoded = encode(shop, {"image": "pixels"})
    assert dict(encoded.encoders) == {"image": "pixels"}
    own = encoded.with_features("image", None, encoded.features["image"] + 1)
    assert not own.encoders
    assert isinstance(own, Catalog)
    spec = GeneratorSpec("ragar", {"steps": 0, "warm_start": 0, "reward": "none", "k": 1})
    other = replace(encoded, encoders={"image": "words"})
    assert trained_generator(spec, other, world[2], models=world[1]).config.encoder == "words"
    given = replace(spec, settings={**spec.settings, "encoder": "minilm"})
    assert trained_generator(given, encoded, world[2], models=world[1]).config.encoder == "minilm"
