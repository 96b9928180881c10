"""What stops a training: the valid split, its metrics, and who is asked."""

from unittest import mock

import numpy as np
import pytest
import torch

from rankers.configs import BPRConfig
from rankers.training import validation
from rankers.training.data import TrainingData, valid_choices
from rankers.training.model import RankerModel
from rankers.training.validation import NAMES, Validation
from recsim_gen.core.processes import Team
from recsim_gen.metrics.evaluation import evaluate
from recsim_gen.testing import worlds

CHOSEN = worlds.noise()[1]


class Fixed(RankerModel):
    """Scores that were drawn once."""

    def __init__(self, chosen, seed: int) -> None:
        super().__init__(BPRConfig(), TrainingData.of(chosen, {}, "cpu"))
        self.table = torch.from_numpy(
            np.random.default_rng(seed).standard_normal((self.n_users, self.n_items))
        )

    def scores(self, users):
        return self.table[users].clone()

    score = scores


@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_evaluation_says_of_the_valid_split(seed):
    model = Fixed(CHOSEN, seed)
    found = Validation(CHOSEN, 0, "cpu")(model, Team())
    frame = evaluate(model, CHOSEN, split="valid", ks=(10, 20), masked=("train",))
    assert tuple(found) == NAMES == ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
    for name in NAMES:
        assert found[name] == pytest.approx(frame[name].mean(), abs=1e-12)


def test_few_people_are_scored_at_a_time_where_items_are_many(monkeypatch):
    model = Fixed(CHOSEN, 0)
    together = Validation(CHOSEN, 0, "cpu")(model, Team())
    monkeypatch.setattr(validation, "SCORES", 3 * model.n_items)
    with mock.patch.object(model, "scores", wraps=model.scores) as scores:
        assert Validation(CHOSEN, 0, "cpu")(model, Team()) == together
    assert {len(call.args[0]) for call in scores.call_args_list[:-1]} == {3}


def test_it_asks_so_many_people_and_every_time_the_same():
    everybody = set(CHOSEN.only("valid")[0].tolist())
    asked = [set(valid_choices(CHOSEN, most)[0].tolist()) for most in (0, len(everybody), 7, 7)]
    assert asked[0] == asked[1] == everybody
    assert len(asked[2]) == 7
    assert asked[2] == asked[3]
    assert Validation(CHOSEN, 7, "cpu")(Fixed(CHOSEN, 0), Team()) != Validation(CHOSEN, 0, "cpu")(
        Fixed(CHOSEN, 0), Team()
    )


def test_without_a_valid_split_there_is_nobody_to_ask():
    assert not Validation(CHOSEN.with_split(np.full(len(CHOSEN), "train")), 0, "cpu")
    assert Validation(CHOSEN, 0, "cpu")
