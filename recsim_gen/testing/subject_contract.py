"""Contract of subject-driven methods; test a new one by a subclass with its name."""

from __future__ import annotations

import json
import random
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.protocols import SubjectGenerator
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import SUBJECT_GENERATORS, resolve
from recsim_gen.core.specs import SubjectGeneratorSpec
from recsim_gen.core.types import Subject
from recsim_gen.datasets.boutique.attributes import Attributes
from recsim_gen.datasets.boutique.drawing import render

DESIGNS = (
    Attributes("bag", "red", "white", "stripes"),
    Attributes("bag", "blue", "yellow", "dots"),
    Attributes("mug", "green", "black", "plain"),
    Attributes("hat", "pink", "brown", "checks"),
)
PROMPT = "a {subject}"


def subject(design: Attributes, each: int = 3) -> Subject:
    """Return a design of Boutique as a subject, with ``each`` images."""
    name = f"{design.main} {design.category}"
    images = tuple(render(design, Rng(0).for_(name, k)) for k in range(each))
    return Subject(name, design.category, images)


class SubjectContract:
    """Contract of subject-driven methods.

    Subclasses set ``name``, and ``settings`` that make the training short. ``looks``: whether it uses the
    reference; ``learns``: whether it trains on each subject.
    """

    name: str
    settings: ClassVar[dict[str, Any]] = {}
    looks = False
    learns = False

    @pytest.fixture(autouse=True)
    def _world(self, tiny: Any) -> None:
        _, self.family = tiny
        self.one, self.other, *self.others = map(subject, DESIGNS)

    def make(self, **settings: Any) -> Any:
        """Return a new method with a family of tiny models."""
        method = resolve(self.name, SUBJECT_GENERATORS, SubjectGeneratorSpec.what)
        return method(models=self.family, device="cpu", **{**self.settings, **settings})

    def taught(self, **settings: Any) -> Any:
        """Return a method trained on other subjects, once per class for each combination of settings."""
        kept = self.__class__.__dict__.get("_kept") or {}
        key = json.dumps(settings, sort_keys=True)
        if key not in kept:
            kept[key] = self.make(**settings).learn(self.others, rng=Rng(0))
            self.__class__._kept = kept
        return kept[key]

    def drawn(self, method: Any, count: int = 1, stream: int = 0) -> list[torch.Tensor]:
        """Return images of the fitted subject with several seeds."""
        requests = [(PROMPT, self.one.images[0], Rng(stream).for_(k)) for k in range(count)]
        pictures: list[torch.Tensor] = method.draw_each(requests)
        return pictures

    def test_it_is_a_subject_generator(self) -> None:
        method = self.make()
        assert isinstance(method, SubjectGenerator)
        assert method.name == self.name
        for setting in SubjectGeneratorSpec(self.name).known():
            assert setting.help, setting.name

    def test_equal_streams_draw_equal_pictures(self) -> None:
        first = self.drawn(self.taught().fit(self.one, rng=Rng(0)), 3)
        again = self.drawn(self.make().learn(self.others, rng=Rng(0)).fit(self.one, rng=Rng(0)), 3)
        assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
        assert not torch.equal(first[0], first[1])
        assert first[0].shape[0] == 3
        assert first[0].dtype == torch.float32
        assert 0 <= float(first[0].min()) <= float(first[0].max()) <= 1

    def test_a_picture_does_not_depend_on_those_drawn_with_it(self) -> None:
        method = self.taught().fit(self.one, rng=Rng(0))
        together = self.drawn(method, 3)
        alone = method.draw(PROMPT, self.one.images[0], noise=Rng(0).for_(2))
        assert torch.equal(together[2], alone)

    def test_another_prompt_is_another_picture(self) -> None:
        method = self.taught().fit(self.one, rng=Rng(0))
        one, two = (
            method.draw(prompt, self.one.images[0], noise=Rng(0)) for prompt in (PROMPT, "blue {subject}")
        )
        assert not torch.equal(one, two)

    def test_the_reference_counts_where_it_is_looked_at(self) -> None:
        method = self.taught().fit(self.one, rng=Rng(0))
        one, two = (method.draw(PROMPT, x.images[0], noise=Rng(0)) for x in (self.one, self.other))
        assert torch.equal(one, two) != self.looks

    def test_the_subject_counts_where_it_is_learned(self) -> None:
        """Two subjects of one kind differ, and images of the first are not changed by fitting the second."""
        method = self.taught()
        one = self.drawn(method.fit(self.one, rng=Rng(0)))[0]
        other = self.drawn(method.fit(self.other, rng=Rng(0)))[0]
        assert torch.equal(one, other) != self.learns
        assert torch.equal(one, self.drawn(method.fit(self.one, rng=Rng(0)))[0])

    def test_the_familys_models_are_left_as_they_were(self) -> None:
        unet = self.family.diffusion(device="cpu").unet
        before = {name: x.clone() for name, x in unet.state_dict().items()}
        self.drawn(self.make().learn(self.others, rng=Rng(0)).fit(self.one, rng=Rng(0)))
        after = unet.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)

    def test_the_process_is_left_as_it_was(self) -> None:
        def state() -> list[Any]:
            words = [str(x) for x in np.random.get_state()]  # noqa: NPY002
            return [random.getstate(), words, torch.get_rng_state().tolist(), torch.is_grad_enabled()]

        before = state()
        self.drawn(self.make().learn(self.others, rng=Rng(0)).fit(self.one, rng=Rng(0)))
        assert state() == before

    def test_what_it_learned_from_others_is_carried_over(self) -> None:
        method = self.taught().fit(self.one, rng=Rng(0))
        again = self.make()
        if again.learns_from_others:
            assert method.weights()
            again.restore(method.weights())
        again.fit(self.one, rng=Rng(0))
        assert again.fingerprint == method.fingerprint
        assert torch.equal(self.drawn(method)[0], self.drawn(again)[0])

    def test_an_unknown_subject_is_told(self) -> None:
        with pytest.raises(SettingError, match="knows no subject yet: call fit first"):
            self.drawn(self.taught_anew())

    def taught_anew(self) -> Any:
        """Return a method trained on other subjects and not fitted to one."""
        method = self.make()
        method.restore(self.taught().weights())
        return method

    def test_too_few_pictures_are_told(self) -> None:
        with pytest.raises(DataError, match="pictures of it are wanted, got none"):
            Subject("nobody", "bag", ())
        method = self.make()
        method.fewest = 4
        with pytest.raises(
            DataError, match=f"{self.name} wants 4 or more pictures of a subject, 'red bag' has 3"
        ):
            method.fit(self.one, rng=Rng(0))

    def test_others_are_wanted_where_it_learns_from_them(self) -> None:
        method = self.make()
        if not method.learns_from_others:
            return
        with pytest.raises(
            DataError, match="learns from 2 or more other subjects of 2 or more pictures, got 0"
        ):
            method.learn([subject(DESIGNS[2], each=1)], rng=Rng(0))
        with pytest.raises(SettingError, match="has to learn from other subjects first"):
            method.fit(self.one, rng=Rng(0))

    @pytest.mark.parametrize("prompt", ["a bag", "a {subject} in {colour}", "{", "a {}"])
    def test_a_prompt_without_the_subjects_place_is_told(self, prompt: str) -> None:
        method = self.taught().fit(self.one, rng=Rng(0))
        with pytest.raises(SettingError, match="prompt"):
            method.draw(prompt, self.one.images[0], noise=Rng(0))

    def test_wrong_settings_are_told(self) -> None:
        with pytest.raises(SettingError, match="unknown setting 'sziee'"):
            self.make(sziee=1)
