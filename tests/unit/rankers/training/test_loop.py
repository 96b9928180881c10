"""The loop: its learning rate, its early stop, and what it leaves of the process."""

import numpy as np
import pytest

from rankers.training import loop
from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import RankerSpec
from recsim_gen.testing import worlds

CATALOG, CHOSEN = worlds.noise()


def fitted(on_epoch=None, name="bpr", **settings):
    return make_ranker(RankerSpec(name, settings)).fit(CATALOG, CHOSEN, rng=Rng(0), on_epoch=on_epoch)


def test_the_learning_rate_falls_by_its_factor_in_50_epochs(monkeypatch):
    rates, one_epoch = [], loop.one_epoch

    def noted(model, pairs, optimizer, team):
        rates.append(optimizer.param_groups[0]["lr"])
        return one_epoch(model, pairs, optimizer, team)

    monkeypatch.setattr(loop, "one_epoch", noted)
    fitted(epochs=51, eval_step=51, learning_rate=0.01, train_batch_size=512)
    assert rates[0] == 0.01
    assert rates[1] == pytest.approx(0.01 * 0.96 ** (1 / 50))
    assert rates[50] == pytest.approx(0.01 * 0.96)


def test_it_stops_early_and_keeps_the_best():
    told = {}
    ranker = fitted(
        lambda epoch, numbers: told.update({epoch: numbers["valid_recall@20"]}),
        epochs=500,
        eval_step=1,
        stopping_step=3,
        learning_rate=0.05,
    )
    assert len(told) < 100
    assert max(told) - ranker.best_epoch == 4  # after more than stopping_step, as in RecBole
    assert told[ranker.best_epoch] == max(told.values()) == ranker.valid["recall@20"]


def test_fewer_epochs_than_a_validation_takes_are_validated_at_their_end():
    assert fitted(epochs=3, eval_step=5).best_epoch == 3


def test_without_a_valid_split_it_goes_on_to_the_end():
    chosen = CHOSEN.with_split(np.where(CHOSEN.split == "valid", "train", CHOSEN.split))
    ranker = make_ranker(RankerSpec("bpr", {"epochs": 7})).fit(CATALOG, chosen, rng=Rng(0))
    assert (ranker.best_epoch, ranker.valid) == (7, {})


def test_a_loss_that_is_no_number_is_told():
    with pytest.raises(SettingError, match=r"the loss of LightGCN became NaN\. Lower learning_rate"):
        fitted(name="lightgcn", epochs=500, learning_rate=1e30)
