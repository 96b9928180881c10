"""The bridge to RecBole: rows stay rows, nothing leaks in or out, sampling is what it says."""

import os
import random
import sys
from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest
import torch
from recbole.model.general_recommender import BPR

from rankers.configs import MICROConfig, Training, batch_size
from rankers.micro import MICRO
from rankers.recbole.bridge import guarded, item_features, session
from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import RankerSpec
from recsim_gen.testing import worlds

CATALOG, CHOSEN = worlds.noise()


@pytest.fixture(autouse=True)
def _apart(apart):
    pass


def opened(chosen=CHOSEN, **settings):
    return session(BPR, chosen, asdict(Training(**settings)), Rng(0), "cpu")


def test_recboles_ids_are_rows_plus_one():
    """Also for users and items without any interaction: tokens are remapped from the tables first."""
    late = CHOSEN.with_split(np.where(CHOSEN.user == 29, "train", CHOSEN.split))
    with opened(late) as s:
        assert (s.dataset.user_num, s.dataset.item_num) == (31, 41)
        for field, n in (("user_id", 30), ("item_id", 40)):
            assert s.dataset.id2token(field, np.arange(1, n + 1)).tolist() == [str(i) for i in range(n)]
        user, item = (s.dataset.inter_feat[field].tolist() for field in ("user_id", "item_id"))
        pairs = {(u - 1, i - 1) for u, i in zip(user, item, strict=True)}
        assert pairs == set(zip(*(a.tolist() for a in late.only("train")), strict=True))


def test_the_test_split_is_not_in_the_session():
    with opened() as s:
        held = sum(len(loader._dataset) for loader in (s.train, s.valid))
        assert held == (CHOSEN.split != "test").sum()
        assert not any("test" in name for name in os.listdir(s.config["data_path"]))


def test_features_come_in_the_order_of_the_rows_whatever_the_order_of_the_file():
    order = np.random.default_rng(0).permutation(40)
    x = CATALOG.features["image"]
    given = {**asdict(MICROConfig()), "item_features": {"image": (order.astype(str), x[order])}}
    with session(MICRO, CHOSEN, given, Rng(0), "cpu") as s:
        assert np.array_equal(item_features(s.config, s.dataset)["image"], x)
    short = {**given, "item_features": {"image": (np.arange(38).astype(str), x[:38])}}
    with (
        session(MICRO, CHOSEN, short, Rng(0), "cpu") as s,
        pytest.raises(DataError, match="features 'image' lack item '38' and 1 more"),
    ):
        item_features(s.config, s.dataset)


def test_a_batch_size_of_0_is_that_of_the_log():
    for asked, used in ((0, 4096), (20, 20)):
        with opened(train_batch_size=asked) as s:
            assert s.config["train_batch_size"] == used


def test_validation_asks_so_many_people_and_every_time_the_same():
    def asked(most, seed):
        with session(BPR, CHOSEN, asdict(Training(valid_users=most)), Rng(seed), "cpu") as s:
            return sorted(set(s.valid._dataset.inter_feat["user_id"].tolist()))

    everybody = sorted(set((CHOSEN.only("valid")[0] + 1).tolist()))
    assert asked(0, 0) == asked(len(everybody), 0) == everybody
    assert len(asked(7, 0)) == 7
    assert asked(7, 0) == asked(7, 1)


def test_validation_asks_for_256_users_at_a_time():
    """RecBole's own 4096 would be one user a batch above 4,096 items (#1878)."""
    with opened() as s:
        assert len(s.valid) == 1
        assert s.valid.step == 256


def test_user_sampling_draws_users_without_replacement_and_their_choices_evenly():
    with opened(sampling="user", train_batch_size=20) as s:
        assert len(s.train) == len(CHOSEN.only("train")[0]) // 20 + 1
        known = set(zip(*(a.tolist() for a in CHOSEN.only("train")), strict=True))
        drawn: Counter[tuple[int, int]] = Counter()
        for _ in range(300):
            for batch in s.train:
                user, item, negative = (
                    (batch[k] - 1).tolist() for k in ("user_id", "item_id", "neg_item_id")
                )
                assert len(set(user)) == len(user) == 20
                assert not known & set(zip(user, negative, strict=True))
                drawn.update(zip(user, item, strict=True))
    assert set(drawn) == known
    share = Counter(CHOSEN.only("train")[0].tolist())
    by_user = Counter()
    for (user, _), count in drawn.items():
        by_user[user] += count
    total = sum(drawn.values())
    for user, count in by_user.items():
        assert count / total == pytest.approx(1 / 30, rel=0.15)
        rows = [c for (u, _), c in drawn.items() if u == user]
        assert max(rows) / min(rows) < 1.6
        assert len(rows) == share[user]
    with opened(sampling="user", train_batch_size=1000) as s:
        assert [len(batch) for batch in s.train] == [30]  # never more than there are users


def test_sampling_by_interaction_takes_each_once_an_epoch():
    with opened(train_batch_size=16) as s:
        rows = [
            pair
            for batch in s.train
            for pair in zip(batch["user_id"].tolist(), batch["item_id"].tolist(), strict=True)
        ]
    assert len(rows) == len(set(rows)) == (CHOSEN.split == "train").sum()


def meddle() -> None:
    with guarded(Rng(0)):
        assert sys.argv == ["me"]
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        np.bool = bool
        random.random(), np.random.random(), torch.rand(1)  # noqa: NPY002
        raise KeyError


def test_guarded_undoes_what_is_done_inside_even_after_an_error(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(sys, "argv", ["me", "--model=BPR"])

    def state():
        numpy_state = np.random.get_state()[1].tolist()  # noqa: NPY002
        return (
            random.getstate(),
            numpy_state,
            torch.get_rng_state().tolist(),
            "bool" in np.__dict__,
        )

    before = state()
    with pytest.raises(KeyError):
        meddle()
    assert state() == before
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    assert sys.argv == ["me", "--model=BPR"]


def test_inside_guarded_the_global_streams_start_at_the_given_one():
    def draws(seed):
        with guarded(Rng(seed)):
            return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002

    assert draws(0) == draws(0)
    assert all(a != b for a, b in zip(draws(0), draws(1), strict=True))


def fail_inside() -> None:
    with opened():
        raise ZeroDivisionError


def test_temporary_files_are_gone_even_after_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    with opened() as s:
        assert str(tmp_path) in s.config["data_path"]
        assert os.path.isdir(s.config["data_path"])
    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_without_train_rows_it_says_so():
    with (
        pytest.raises(DataError, match="the train split must have interactions, got none"),
        opened(CHOSEN.with_split(np.full(len(CHOSEN), "test"))),
    ):
        pass


def test_the_learning_rate_falls_by_its_factor_in_50_epochs():
    rates = []

    def watch(epoch, numbers):
        rates.append(trainers[-1].optimizer.param_groups[0]["lr"])

    from rankers.recbole import ranker as recbole_ranker

    trainers = []

    class Watched(recbole_ranker.QuietTrainer):
        def __init__(self, *args):
            super().__init__(*args)
            trainers.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recbole_ranker, "QuietTrainer", Watched)
        settings = {"epochs": 50, "eval_step": 50, "learning_rate": 0.01, "train_batch_size": 512}
        make_ranker(RankerSpec("bpr", settings)).fit(CATALOG, CHOSEN, rng=Rng(0), on_epoch=watch)
    assert rates[0] == pytest.approx(0.01 * 0.96 ** (1 / 50))
    assert rates[-1] == pytest.approx(0.01 * 0.96)


def test_training_stops_early_and_keeps_the_best():
    epochs = []
    ranker = make_ranker(
        RankerSpec("bpr", {"epochs": 500, "eval_step": 1, "stopping_step": 3, "learning_rate": 0.05})
    )
    ranker.fit(CATALOG, CHOSEN, rng=Rng(0), on_epoch=lambda epoch, _: epochs.append(epoch))
    assert len(epochs) < 100
    assert epochs[-1] - ranker.best_epoch == 4  # RecBole stops after more than stopping_step


@pytest.mark.parametrize(
    ("choices", "asked", "used"),
    [
        (49_999, 0, 4096),
        (50_000, 0, 8192),
        (262_144, 0, 8192),
        (262_145, 0, 8193),
        (8_000_000, 0, 250_000),
        (10, 20, 20),
        (8_000_000, 8192, 8192),
    ],
)
def test_large_logs_are_learned_in_large_steps_unless_told(choices, asked, used):
    assert Training(train_batch_size=asked).for_log(choices).train_batch_size == used


@pytest.mark.parametrize("choices", [1, 5_000, 49_999, 200_000, 262_144, 1_000_001, 10**8])
def test_an_epoch_has_32_steps_at_most(choices):
    """Each passes over all items: so an epoch's time grows with the data, and not with its square."""
    assert -(-choices // batch_size(0, choices)) <= 32
