"""Contract of generators; test a new one by a subclass with its name."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.protocols import Generator, InWords
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import GENERATORS, resolve
from recsim_gen.core.specs import GeneratorSpec
from recsim_gen.datasets.boutique import world as boutique
from recsim_gen.models.family import open_family
from recsim_gen.testing import tiny_models

OTHERS = {"original": {}, "sd": {}}  # name and settings of generators that need no training


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Return a small shop and a family of tiny random models that draw in two steps."""
    folder = tmp_path_factory.mktemp("generators")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(folder / "cache"))
        shop = boutique.load(n_items=80, n_users=12)
        shop.catalog.fingerprint  # noqa: B018 - draws the pictures
        family = open_family(tiny_models.save_family(folder / "family"))
        yield shop, replace(family, steps=2)


class GeneratorContract:
    """Contract of generators.

    Subclasses set ``name`` (of the registry or ``module:Class``) and optionally ``still``, True if its images
    are deterministic.
    """

    name: str
    settings: ClassVar[dict[str, Any]] = {}
    still = False
    uses_models = True

    @pytest.fixture(autouse=True)
    def _world(self, tiny):
        self.shop, self.family = tiny
        self.catalog, self.episodes = self.shop.catalog, self.shop.episodes[:4]

    def make(self, **settings: Any) -> Any:
        generator_class = resolve(self.name, GENERATORS, "generator")
        return generator_class(models=self.family, device="cpu", **{**self.settings, **settings})

    def fitted(self, **settings: Any) -> Any:
        """Return a generator fitted once per class for each combination of settings."""
        kept = self.__class__.__dict__.get("_kept") or {}
        key = json.dumps(settings, sort_keys=True)
        if key not in kept:
            kept[key] = self.make(**settings).fit(self.catalog, self.shop.episodes, rng=Rng(0))
            self.__class__._kept = kept
        return kept[key]

    def test_it_is_a_generator(self):
        assert isinstance(self.fitted(), Generator)
        assert self.fitted().name == self.name

    def test_every_setting_has_a_line_of_help(self):
        for setting in GeneratorSpec(self.name).known():
            assert setting.help, setting.name

    def test_each_picture_says_where_it_comes_from(self):
        batch = self.fitted().generate(self.episodes, n=2, rng=Rng(0))
        assert batch.pixels.shape[:2] == (8, 3)
        assert batch.pixels.dtype == torch.float32
        assert not batch.pixels.requires_grad
        assert batch.episode.tolist() == [e.id for e in self.episodes for _ in range(2)]
        assert batch.item.tolist() == [e.reference for e in self.episodes for _ in range(2)]
        assert batch.seed.tolist() == [0, 1] * 4
        assert batch.generator == self.name
        assert len(self.fitted().generate([], rng=Rng(0)).pixels) == 0

    def test_a_picture_depends_on_its_episode_and_seed_alone(self):
        generator = self.fitted()
        together = generator.generate(self.episodes, n=2, rng=Rng(0)).pixels
        backwards = generator.generate(self.episodes[::-1], rng=Rng(0)).pixels
        alone = generator.generate(self.episodes[2:3], n=2, rng=Rng(0)).pixels
        assert torch.equal(backwards.flip(0), together[::2])
        assert torch.equal(alone, together[4:6])

    def test_what_it_is_told_is_said_in_words(self):
        generator, episode = self.fitted(), self.episodes[0]
        words = generator.words(episode)
        assert isinstance(generator, InWords)
        assert isinstance(words, str)
        assert bool(words) == bool({"diffusion", "glide", "pipeline"} & set(generator.roles))
        assert generator.words(episode) == words  # not random

    def test_chance_comes_from_the_stream(self):
        generator = self.fitted()
        episode = self.episodes[:1]
        one, two = generator.generate(episode, n=2, rng=Rng(0)).pixels
        (other,) = generator.generate(episode, rng=Rng(1)).pixels
        assert torch.equal(one, two) == self.still
        assert torch.equal(one, other) == self.still

    def test_the_process_is_left_as_it_was(self):
        def state() -> list[Any]:
            return [
                random.getstate(),
                [str(x) for x in np.random.get_state()],  # noqa: NPY002
                torch.get_rng_state().tolist(),
                torch.get_num_threads(),
                torch.is_grad_enabled(),
                sorted(os.listdir()),
            ]

        before = state()
        generator = self.make().fit(self.catalog, self.episodes, rng=Rng(0))
        generator.generate(self.episodes[:1], rng=Rng(0))
        assert state() == before

    def test_saved_and_loaded_it_draws_the_same(self, tmp_path):
        generator = self.fitted()
        generator.save(tmp_path / "a" / "b")
        again = type(generator).load(tmp_path / "a" / "b", self.catalog, models=self.family, device="cpu")
        assert again.config == generator.config
        assert again.fingerprint == generator.fingerprint
        one, other = (g.generate(self.episodes[:2], rng=Rng(0)).pixels for g in (generator, again))
        assert torch.equal(one, other)

    def test_features_of_the_catalogue_do_not_matter(self):
        x = np.random.default_rng(0).standard_normal((len(self.catalog), 3))
        other = self.catalog.with_features("image", None, x)
        folder_free = self.make().fit(other, self.shop.episodes, rng=Rng(0))
        assert folder_free.fingerprint == self.fitted().fingerprint

    def test_a_checkpoint_of_something_else_is_told(self, tmp_path):
        generator_class = type(self.make())
        for name in [n for n in OTHERS if n != self.name]:
            other_class = resolve(name, GENERATORS, "generator")
            other = other_class(models=self.family, device="cpu").fit(self.catalog, (), rng=Rng(0))
            other.save(tmp_path / name)
            with pytest.raises(
                DataError, match=f"a checkpoint of '{self.name}' is wanted, got one of '{name}'"
            ):
                generator_class.load(tmp_path / name, self.catalog, models=self.family)
        with pytest.raises(DataError, match=r"got no readable config\.json"):
            generator_class.load(tmp_path / "nothing", self.catalog, models=self.family)

    def test_it_is_not_loaded_with_other_data_or_models(self, tmp_path):
        generator = self.fitted()
        generator.save(tmp_path / "saved")
        other = replace(self.catalog, titles=self.catalog.titles[::-1])
        with pytest.raises(DataError, match=r"trained on another catalogue.*same --data"):
            type(generator).load(tmp_path / "saved", other, models=self.family)
        if self.uses_models:
            about = json.loads((tmp_path / "saved" / "config.json").read_text())
            about["models"] = dict.fromkeys(about["models"], "0" * 32)
            (tmp_path / "saved" / "config.json").write_text(json.dumps(about))
            with pytest.raises(DataError, match=r"trained with other models.*same --models"):
                type(generator).load(tmp_path / "saved", self.catalog, models=self.family)

    def test_a_killed_save_leaves_what_was_there(self, tmp_path, monkeypatch):
        generator = self.fitted()
        generator.save(tmp_path / "new" / "saved")
        whole = {p.name: p.read_bytes() for p in (tmp_path / "new" / "saved").rglob("*") if p.is_file()}

        def killed(*_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("generators.checkpoint.write_json", killed)
        for name in ("saved", "other"):
            with pytest.raises(KeyboardInterrupt):
                generator.save(tmp_path / "new" / name)
        assert [p.name for p in (tmp_path / "new").iterdir()] == ["saved"]
        assert {
            p.name: p.read_bytes() for p in (tmp_path / "new" / "saved").rglob("*") if p.is_file()
        } == whole

    def test_wrong_settings_are_told(self):
        with pytest.raises(SettingError, match="unknown setting 'sziee'"):
            self.make(sziee=1)
        for name, value in self.fitted().config.__dict__.items():
            if isinstance(value, str):
                near = name[:-1]
                with pytest.raises(SettingError, match=f"unknown setting '{near}'.*Did you mean '{name}'"):
                    self.make(**{near: value})

    def test_items_that_do_not_exist_are_told(self):
        known = self.episodes[0]
        for wrong in (replace(known, reference=80), replace(known, history=(1, -1))):
            with pytest.raises(DataError, match=rf"episode {known.id}: unknown item.*\[0, 80\)"):
                self.fitted().generate([wrong], rng=Rng(0))

    def test_use_before_fitting_is_told(self, tmp_path):
        generator = self.make()
        draw = (lambda: generator.generate(self.episodes, rng=Rng(0)), lambda: generator.fingerprint)
        for use in (*draw, lambda: generator.save(tmp_path / "saved")):
            with pytest.raises(SettingError, match="neither fitted nor loaded"):
                use()
        assert not (tmp_path / "saved").exists()
        with pytest.raises(SettingError, match="n must be 1"):
            self.fitted().generate(self.episodes, n=0, rng=Rng(0))


class TrainedGeneratorContract(GeneratorContract):
    """Contract of generators that learn; ``settings`` make the training short."""

    def trained(self, rng: Rng | None = None, **family: Any) -> tuple[Any, int]:
        """Return a newly fitted generator with these family settings, and the bytes stored for gradients."""
        self.family, before, kept = replace(self.family, **family), self.family, []

        def keep(x: torch.Tensor) -> torch.Tensor:
            kept.append(x.numel() * x.element_size())
            return x

        try:
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
                return self.make().fit(self.catalog, self.shop.episodes, rng=rng or Rng(0)), sum(kept)
        finally:
            self.family = before

    def test_equal_streams_learn_equal_weights(self):
        again, _ = self.trained()
        other, _ = self.trained(Rng(1))
        assert self.fitted().fingerprint == again.fingerprint != other.fingerprint

    def test_frozen_models_may_have_half_precision(self):
        whole, (half, _) = self.fitted().weights(), self.trained(dtype="bfloat16")
        learned = half.weights()
        assert {n: (x.shape, x.dtype) for n, x in learned.items()} == {
            n: (x.shape, torch.float32) for n, x in whole.items()
        }
        other, _ = self.trained(Rng(1))
        one, same, another = (_flat(w) for w in (whole, learned, other.weights()))
        assert 0 < (one - same).norm() < 0.5 * (one - another).norm()
        pixels = half.generate(self.episodes, rng=Rng(0)).pixels
        assert pixels.isfinite().all()

    def test_gradient_checkpointing_changes_the_memory_alone(self):
        _, much = self.trained()
        again, little = self.trained(gradient_checkpointing=True)
        assert again.fingerprint == self.fitted().fingerprint
        assert little < 0.8 * much


def _flat(weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([x.flatten() for x in weights.values()])


class LearnedGeneratorContract(TrainedGeneratorContract):
    """Contract of generators that learn from histories."""

    def test_references_are_not_looked_at(self):
        n = len(self.catalog)
        moved = []
        for episode in self.shop.episodes:
            free = next(i for i in range(n) if i not in episode.history and i != episode.reference)
            moved.append(replace(episode, reference=free))
        generator = self.make().fit(self.catalog, moved, rng=Rng(0))
        assert generator.fingerprint == self.fitted().fingerprint

    def test_the_familys_models_are_left_as_they_were(self):
        pipeline = self.family.diffusion(device="cpu")

        def state() -> dict[str, Any]:
            parts = {"unet": pipeline.unet, "text": pipeline.text_encoder, "vae": pipeline.vae}
            weights = {f"{p}.{n}": x.clone() for p, m in parts.items() for n, x in m.state_dict().items()}
            return weights | {"words": len(pipeline.tokenizer)}

        before = state()
        self.make().fit(self.catalog, self.shop.episodes, rng=Rng(0)).generate(self.episodes[:1], rng=Rng(0))
        after = state()
        assert before.keys() == after.keys()
        assert all(torch.equal(torch.as_tensor(before[k]), torch.as_tensor(after[k])) for k in before)

    def test_a_killed_training_ends_with_the_same_weights(self, tmp_path, monkeypatch):
        """Each step is saved here, so that none of those done before the kill is done again."""
        from recsim_gen.core.training_loop import _State

        undisturbed, whole = _State.advance, self.fitted().fingerprint
        monkeypatch.setattr("recsim_gen.core.training_loop.SECONDS_BETWEEN_CHECKPOINTS", -1.0)
        calls: list[int] = []

        def counted(self: Any, *args: Any) -> Any:
            calls.append(1)
            return undisturbed(self, *args)

        def killed(self: Any, *args: Any) -> Any:
            if len(calls) == 2:
                raise KeyboardInterrupt
            return counted(self, *args)

        monkeypatch.setattr(_State, "advance", counted)
        self.make().fit(self.catalog, self.shop.episodes, rng=Rng(0))
        steps = len(calls)
        calls.clear()
        monkeypatch.setattr(_State, "advance", killed)
        with pytest.raises(KeyboardInterrupt):
            self.make().fit(self.catalog, self.shop.episodes, rng=Rng(0), work=tmp_path)
        monkeypatch.setattr(_State, "advance", counted)
        again = self.make().fit(self.catalog, self.shop.episodes, rng=Rng(0), work=tmp_path)
        assert len(calls) == steps
        assert again.fingerprint == whole
        assert list(tmp_path.iterdir()) == []

    def test_histories_without_pictures_are_told(self):
        bare = replace(self.catalog, images=None)
        with pytest.raises(DataError, match=r"histories with at least \d pictures are wanted"):
            self.make().fit(bare, self.shop.episodes, rng=Rng(0))

    def test_broken_weights_are_told(self, tmp_path):
        generator = self.fitted()
        generator.save(tmp_path / "saved")
        for file in (tmp_path / "saved").rglob("*.safetensors"):
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(DataError, match="no readable"):
            type(generator).load(tmp_path / "saved", self.catalog, models=self.family)
