"""Contract of rankers; test a new one by a subclass with its name."""

from __future__ import annotations

import os
import random
import sys
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.protocols import Ranker
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import RANKERS
from recsim_gen.core.specs import RankerSpec
from recsim_gen.testing import worlds

SHORT = {"epochs": 2, "embedding_size": 8, "train_batch_size": 32}
LONG = {"epochs": 60, "eval_step": 60, "embedding_size": 16, "train_batch_size": 64, "learning_rate": 0.02}


class RankerContract:
    """Contract of rankers.

    Subclasses set ``spec`` (a name of the registry or ``module:Class``), and ``learns`` to False for a ranker
    without weights.
    """

    spec: str
    settings: ClassVar[dict[str, Any]] = SHORT
    enough: ClassVar[dict[str, Any]] = LONG
    learns = True

    @pytest.fixture(autouse=True)
    def _apart(self, tmp_path, monkeypatch):
        """Use an empty working directory and an empty cache."""
        monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))
        self.here = tmp_path / "here"
        self.here.mkdir()
        monkeypatch.chdir(self.here)

    def make(self, **settings: Any) -> Any:
        return make_ranker(RankerSpec(self.spec, {**self.settings, **settings} if self.learns else {}))

    def fitted(self, world: Any = None, *, seed: int = 0, **settings: Any) -> Any:
        return self.make(**settings).fit(*(world or worlds.noise()), rng=Rng(seed))

    def test_it_is_a_ranker(self):
        assert isinstance(self.fitted(), Ranker)
        assert self.make().training_version >= 1

    def test_scores_are_one_number_for_each_user_and_item(self):
        catalog, chosen = worlds.noise()
        ranker = self.fitted()
        for scores in (ranker.score(np.array([3, 0, 3])), ranker.fold_in([np.array([1, 5]), [2], (0, 9, 4)])):
            assert scores.shape == (3, len(catalog))
            assert scores.dtype == torch.float32
            assert scores.isfinite().all()
            assert not scores.requires_grad
        assert ranker.score(np.array([], dtype=int)).shape == (0, chosen.n_items)
        assert ranker.fold_in([]).shape == (0, chosen.n_items)

    def test_what_is_returned_belongs_to_the_caller(self):
        ranker = self.fitted()
        before = ranker.score(np.arange(4)).clone()
        ranker.score(np.arange(4)).fill_(-torch.inf)
        ranker.fold_in([[0]] * 4).fill_(-torch.inf)
        assert torch.equal(ranker.score(np.arange(4)), before)

    def test_equal_streams_give_equal_bits_and_others_do_not(self):
        one, again, other = self.fitted(), self.fitted(), self.fitted(seed=1)
        users = np.arange(30)
        assert torch.equal(one.score(users), again.score(users))
        assert one.fingerprint == again.fingerprint
        assert torch.equal(one.score(users), other.score(users)) == (not self.learns)
        assert (one.fingerprint == other.fingerprint) == (not self.learns)

    def test_the_process_is_left_as_it_was(self):
        def state() -> list[Any]:
            numpy_names = {name for name in np.__dict__ if not name.startswith("_")}
            return [
                random.getstate(),
                [str(x) for x in np.random.get_state()],  # noqa: NPY002
                torch.get_rng_state().tolist(),
                numpy_names,
                [*sys.argv],
                {k: v for k, v in os.environ.items() if k.startswith("CUDA")},
                torch.get_num_threads(),
            ]

        before = state()
        ranker = self.fitted()
        ranker.score(np.arange(3))
        ranker.save(self.here.parent / "saved")
        type(ranker).load(self.here.parent / "saved", *worlds.noise())
        assert state() == before
        assert list(self.here.iterdir()) == []  # no saved/, no log_tensorboard/

    def test_the_test_split_is_never_read(self):
        catalog, chosen = worlds.noise()
        test = chosen.split == "test"
        item = chosen.item.copy()
        for row in np.flatnonzero(test):
            own = item[chosen.user == chosen.user[row]]
            item[row] = next(i for i in range(len(catalog)) if i not in own)
        moved = replace(chosen, item=item)
        assert (moved.item[test] != chosen.item[test]).all()
        one, other = self.fitted(), self.fitted((catalog, moved))
        assert torch.equal(one.score(np.arange(30)), other.score(np.arange(30)))
        assert one.fingerprint != other.fingerprint

    def test_a_batch_is_its_rows(self):
        ranker = self.fitted()
        users = np.random.default_rng(0).permutation(30)
        histories = [np.random.default_rng(u).permutation(40)[: 1 + u % 5] for u in range(30)]
        for score, rows in ((ranker.score, users), (ranker.fold_in, histories)):
            together = score(rows)
            one_by_one = torch.cat([score(rows[b : b + 1]) for b in range(30)])
            backwards = score(rows[::-1]).flip(0)
            torch.testing.assert_close(one_by_one, together, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(backwards, together, rtol=1e-5, atol=1e-6)

    def test_the_order_of_a_history_does_not_matter(self):
        ranker = self.fitted()
        one, other = ranker.fold_in([[7, 3, 12]]), ranker.fold_in([[12, 7, 3]])
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)

    def test_saved_and_loaded_it_is_the_same(self, tmp_path):
        ranker = self.fitted()
        ranker.save(tmp_path / "a" / "b")
        assert {p.name for p in (tmp_path / "a" / "b").iterdir()} == {"config.json", "model.safetensors"}
        again = type(ranker).load(tmp_path / "a" / "b", *worlds.noise())
        assert again.fingerprint == ranker.fingerprint
        assert again.config == ranker.config
        assert torch.equal(again.score(np.arange(30)), ranker.score(np.arange(30)))
        assert torch.equal(again.fold_in([[1, 2], [3]]), ranker.fold_in([[1, 2], [3]]))

    def test_it_is_not_loaded_with_other_data(self, tmp_path):
        ranker = self.fitted()
        ranker.save(tmp_path / "saved")
        catalog, _ = worlds.noise()
        with pytest.raises(DataError, match="trained on other data"):
            type(ranker).load(tmp_path / "saved", catalog, worlds.noise(seed=1)[1])

    def test_what_is_no_checkpoint_of_it_is_told(self, tmp_path):
        for name in [n for n in RANKERS if n != self.spec.partition(":")[0]]:
            folder = tmp_path / name
            folder.mkdir()
            (folder / "config.json").write_text(f'{{"format": 1, "ranker": "{name}"}}')
            with pytest.raises(DataError, match=f"a checkpoint of .* was wanted, got '{name}'"):
                type(self.make()).load(folder, *worlds.noise())
        with pytest.raises(DataError, match="no readable ranker"):
            type(self.make()).load(tmp_path / "nothing", *worlds.noise())

    def test_a_killed_save_leaves_what_was_there(self, tmp_path, monkeypatch):
        ranker = self.fitted()

        def killed(*_: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("rankers.checkpoint.write_json", killed)
            with pytest.raises(KeyboardInterrupt):
                ranker.save(tmp_path / "new" / "saved")
        assert list((tmp_path / "new").iterdir()) == []
        ranker.save(tmp_path / "new" / "saved")
        other = self.fitted(worlds.noise(seed=1))
        with monkeypatch.context() as patch:
            patch.setattr("rankers.checkpoint.write_json", killed)
            with pytest.raises(KeyboardInterrupt):
                other.save(tmp_path / "new" / "saved")
        again = type(ranker).load(tmp_path / "new" / "saved", *worlds.noise())
        assert again.fingerprint == ranker.fingerprint
        other.save(tmp_path / "new" / "saved")
        again = type(ranker).load(tmp_path / "new" / "saved", *worlds.noise(seed=1))
        assert again.fingerprint == other.fingerprint
        assert [p.name for p in (tmp_path / "new").iterdir()] == ["saved"]

    def test_a_wrong_setting_is_told(self):
        ranker_class = type(self.make())
        with pytest.raises(SettingError, match="unknown setting 'epohcs'") as error:
            ranker_class(epohcs=3)
        assert not self.learns or "Did you mean 'epochs'?" in str(error.value)
        name = self.spec.partition(":")[0]
        if name in RANKERS:
            with pytest.raises(SettingError, match=r"unknown recipe 'defautl'.*Did you mean 'default'"):
                make_ranker(f"{name}:defautl")
        if self.learns:
            for name, value in (("epochs", 0), ("epochs", "ten"), ("epochs", 2.5), ("learning_rate", True)):
                with pytest.raises(SettingError, match=name):
                    ranker_class(**{name: value})
            evil = "__import__('os').getcwd()"
            with pytest.raises(SettingError, match=r"one of Recall@10.*got .*__import__"):
                ranker_class(valid_metric=evil)

    def test_rows_that_do_not_exist_are_told(self):
        ranker = self.fitted()
        for users in ([30], [-1], [0, 99]):
            with pytest.raises(DataError, match=r"user rows must be in \[0, 30\)"):
                ranker.score(np.array(users))
        for histories in ([[40]], [[1], [-1]], [[1], []]):
            with pytest.raises(DataError, match=r"must have item rows in \[0, 40\)"):
                ranker.fold_in(histories)
        with pytest.raises(DataError, match="interactions must be with the catalogue's 40 items, got 41"):
            self.make().fit(worlds.noise()[0], worlds.noise(n_items=41)[1], rng=Rng(0))

    def test_use_before_training_is_told(self, tmp_path):
        ranker = self.make()
        uses = (lambda: ranker.score([0]), lambda: ranker.fold_in([[0]]), lambda: ranker.fingerprint)
        for use in (*uses, lambda: ranker.save(tmp_path / "saved")):
            with pytest.raises(SettingError, match="neither fitted nor loaded"):
                use()
        assert not (tmp_path / "saved").exists()


class LearnedRankerContract(RankerContract):
    """Contract of rankers that `rankers.training` trains; ``blind``: features do not affect it."""

    blind = False

    def test_broken_weights_are_told(self, tmp_path):
        ranker = self.fitted()
        ranker.save(tmp_path / "saved")
        file = tmp_path / "saved" / "model.safetensors"
        whole = file.read_bytes()
        for content in (whole[: len(whole) // 2], b"", None):
            file.unlink()
            if content is not None:
                file.write_bytes(content)
            with pytest.raises(DataError, match=r"model.safetensors: no readable weights"):
                type(ranker).load(tmp_path / "saved", *worlds.noise())
            file.write_bytes(whole)

    def test_each_epoch_is_told_once(self):
        for valid in ("valid", "train"):
            catalog, chosen = worlds.noise()
            chosen = chosen.with_split(np.where(chosen.split == "valid", valid, chosen.split))
            told: list[tuple[int, Any]] = []
            ranker = self.make(epochs=5, eval_step=2)
            ranker.fit(catalog, chosen, rng=Rng(0), on_epoch=lambda *epoch, told=told: told.append(epoch))
            assert [number for number, _ in told] == [1, 2, 3, 4, 5]
            assert all(np.isfinite(numbers["loss"]) for _, numbers in told)
            validated = [
                number for number, numbers in told if "valid_recall@20" in numbers and number % 2 == 0
            ]
            assert validated == ([2, 4] if valid == "valid" else [])
            assert bool(ranker.valid) == (valid == "valid")

    def test_the_best_epoch_is_kept(self):
        losses = {}
        world = worlds.noise()
        ranker = self.make(epochs=12, eval_step=1, learning_rate=0.05)
        ranker.fit(*world, rng=Rng(0), on_epoch=lambda epoch, numbers: losses.update({epoch: dict(numbers)}))
        best = max(losses, key=lambda epoch: (losses[epoch]["valid_recall@20"], epoch))  # the later of equals
        assert ranker.valid["recall@20"] == losses[best]["valid_recall@20"]
        assert losses[ranker.best_epoch]["valid_recall@20"] == losses[best]["valid_recall@20"]

    def test_other_features_start_and_draw_alike(self, monkeypatch):
        """Equal initial weights and negatives make two trainings comparable pair by pair."""
        from rankers.training import loop

        catalog, chosen = worlds.noise()
        other = worlds.catalog({"image": np.random.default_rng(5).standard_normal((40, 20))})
        seen = []

        def noted(model: Any, pairs: Any, *_: Any) -> float:
            state = {k: v.clone() for k, v in model.state_dict().items() if "modal" not in k}
            seen.append((state, [batch for _ in range(2) for batch in pairs]))
            return 0.0

        monkeypatch.setattr(loop, "one_epoch", noted)
        for c in (catalog, other):
            self.make(epochs=1).fit(c, chosen, rng=Rng(0))
        (weights, batches), (other_weights, other_batches) = seen
        embeddings = [k for k in weights if "embedding" in k and weights[k].shape == other_weights[k].shape]
        assert len(embeddings) >= 2
        for name in embeddings:
            assert torch.equal(weights[name], other_weights[name]), name
        assert len(batches) == len(other_batches) >= 4
        for batch, other_batch in zip(batches, other_batches, strict=True):
            assert all(torch.equal(*rows) for rows in zip(batch, other_batch, strict=True))

    def test_negatives_were_not_chosen_in_training(self, monkeypatch):
        from rankers.training import loop

        catalog, chosen = worlds.noise()
        known = set(zip(*(a.tolist() for a in chosen.only("train")), strict=True))
        positives, negatives = set(), set()

        def noted(model: Any, pairs: Any, *_: Any) -> float:
            for _ in range(20):
                for batch in pairs:
                    user, item, negative = (rows.tolist() for rows in batch)
                    positives.update(zip(user, item, strict=True))
                    negatives.update(zip(user, negative, strict=True))
            return 0.0

        monkeypatch.setattr(loop, "one_epoch", noted)
        self.make(epochs=1).fit(catalog, chosen, rng=Rng(0))
        assert positives == known
        assert not negatives & known
        assert len(negatives) > len(known)

    def test_features_matter_unless_it_is_blind(self):
        catalog, chosen = worlds.noise()
        shuffled = catalog.with_features("image", None, catalog.features["image"][::-1])
        one, other = self.fitted(), self.fitted((shuffled, chosen))
        assert torch.equal(one.score(np.arange(30)), other.score(np.arange(30))) == self.blind
        assert (one.fingerprint == other.fingerprint) == self.blind

    def test_without_features_it_says_so_unless_it_is_blind(self):
        catalog, chosen = worlds.noise()
        bare = replace(catalog, features={})
        if self.blind:
            assert torch.equal(
                self.fitted((bare, chosen)).score(np.arange(30)), self.fitted().score(np.arange(30))
            )
            return
        with pytest.raises(DataError, match="needs item features"):
            self.make().fit(bare, chosen, rng=Rng(0))

    def test_on_the_checkerboard_it_ranks_the_own_colour_first(self):
        catalog, chosen = worlds.checkerboard()
        ranker = self.make(**self.enough).fit(catalog, chosen, rng=Rng(0))
        users, items = np.arange(chosen.n_users), np.arange(len(catalog))
        own = torch.from_numpy(items % 2 == users[:, None] % 2)
        histories = [chosen.item[(chosen.user == u) & (chosen.split == "train")] for u in users]
        for scores in (ranker.score(users), ranker.fold_in(histories)):
            worst_own = scores.masked_fill(~own, torch.inf).amin(1)
            best_other = scores.masked_fill(own, -torch.inf).amax(1)
            assert (worst_own > best_other).all()
