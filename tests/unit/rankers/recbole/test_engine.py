"""Our loop against RecBole's own trainer: the same weights, validation and epochs, to the bit."""

import os

import numpy as np
import pytest
import torch

from rankers.configs import BPRConfig
from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import RankerSpec
from recsim_gen.core.training_loop import seeded
from recsim_gen.testing import worlds

pytestmark = pytest.mark.recbole

CATALOG, CHOSEN = worlds.noise()
SHORT = {"epochs": 25, "eval_step": 2, "stopping_step": 3, "train_batch_size": 40, "learning_rate": 0.02}
PUBLISHED = {"knn_k": 5, "negative_cosine": "clamp"}


@pytest.fixture(autouse=True)
def _apart(apart):
    pass


def trained(spec, seed, settings):
    told = {}
    ranker = make_ranker(RankerSpec(spec, {"embedding_size": 8, **SHORT, **settings}))
    ranker.fit(CATALOG, CHOSEN, rng=Rng(seed), on_epoch=lambda *epoch: told.update([epoch]))
    return ranker, told


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("spec", "settings"),
    [
        ("micro", {"knn_k": 5}),
        ("micro:published-code", PUBLISHED),
        ("micro:published-code", {**PUBLISHED, "sampling": "interaction"}),
        ("lattice", {"knn_k": 5}),
        ("vbpr", {}),
        ("bpr", {}),
        ("lightgcn", {}),
        ("din", {"train_batch_size": 8}),
    ],
)
def test_the_same_seed_gives_the_same_bits(spec, settings, seed, monkeypatch):
    from rankers.recbole import engine

    ours, told = trained(spec, seed, settings)
    monkeypatch.setattr("rankers.learned_ranker.train", engine.train)
    theirs, told_by_them = trained(spec, seed, settings)
    assert (ours.best_epoch, ours.valid) == (theirs.best_epoch, theirs.valid)
    assert told == told_by_them
    mine, other = ours.model.state_dict(), theirs.model.state_dict()
    assert mine.keys() == other.keys()
    assert all(torch.equal(mine[name], other[name]) for name in mine)
    assert ours.fingerprint == theirs.fingerprint


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("spec", "rounding"), [("bpr", 0), ("lightgcn", 1e-5)])
def test_its_own_models_train_to_the_weights_of_ours(spec, rounding, seed):
    """Its first row, of [PAD], has no counterpart; its LightGCN adds up in another order."""
    from recbole.model.general_recommender import BPR, LightGCN

    from rankers.recbole.engine import QuietTrainer, session

    ours, _ = trained(spec, seed, {})
    stream, model_class = Rng(seed).for_("ranker"), {"bpr": BPR, "lightgcn": LightGCN}[spec]
    with (
        seeded(stream),
        session(model_class, ours.config, CHOSEN, stream.integer(), torch.device("cpu")) as opened,
    ):
        model = model_class(opened.config, opened.dataset)
        found = QuietTrainer(opened.config, model, None).run(opened.train, opened.valid)
    assert (ours.best_epoch, ours.valid) == found
    for name, weight in model.state_dict().items():
        difference = (weight[1:] - ours.model.state_dict()[name]).abs().max()
        assert difference <= rounding, name


def opened(chosen=CHOSEN, **settings):
    from rankers.recbole.engine import InRecBole, session

    return session(InRecBole, BPRConfig(**settings).for_log(10), chosen, 0, torch.device("cpu"))


def test_its_ids_are_rows_plus_one():
    """Also for users and items without any interaction: tokens are remapped from the tables first."""
    late = CHOSEN.with_split(np.where(CHOSEN.user == 29, "train", CHOSEN.split))
    with opened(late) as s:
        assert (s.dataset.user_num, s.dataset.item_num) == (31, 41)
        for field, n in (("user_id", 30), ("item_id", 40)):
            assert s.dataset.id2token(field, np.arange(1, n + 1)).tolist() == [str(i) for i in range(n)]
        user, item = (s.dataset.inter_feat[field].tolist() for field in ("user_id", "item_id"))
        pairs = {(u - 1, i - 1) for u, i in zip(user, item, strict=True)}
        assert pairs == set(zip(*(a.tolist() for a in late.only("train")), strict=True))


def test_the_test_split_is_not_in_its_files():
    with opened() as s:
        held = sum(len(loader._dataset) for loader in (s.train, s.valid))
        assert held == (CHOSEN.split != "test").sum()
        assert not any("test" in name for name in os.listdir(s.config["data_path"]))
        assert s.valid.step == 256  # users at a time; its own 4096 would be one above 4,096 items (#1878)


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
