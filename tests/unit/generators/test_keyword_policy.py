"""The policy over looks: its start, what a reward does to it, and how far it has gone."""

import numpy as np
import pytest
import torch

from generators.ragar.keyword_policy import KeywordPolicy, divergence, draw_actions, keyword_loss
from generators.ragar.looks import Looks
from recsim_gen.core.randomness import Rng

LOOKS = [
    Looks(
        [["red", "dots"], ["blue", "dots"], ["red", "plain"]], np.array([2, 1, 0.0]), np.ones(3), np.arange(3)
    ),
    Looks([["blue", "plain"], ["red", "dots"]], np.array([0.5, 0]), np.zeros(2), np.arange(2)),
]


def made(**settings):
    return KeywordPolicy(["blue", "dots", "plain", "red"], **{"temperature": 0.5, "caution": 0.0, **settings})


def test_it_starts_at_the_posterior_and_where_there_is_no_look_there_is_no_chance():
    policy = made()
    choices = policy.choices(LOOKS)
    p = policy(choices).exp()
    np.testing.assert_allclose(p[0].tolist(), np.exp([4, 2, 0]) / np.exp([4, 2, 0]).sum(), rtol=1e-5)
    assert p[1, 2] == 0
    torch.testing.assert_close(p.sum(1), torch.ones(2))
    assert divergence(policy(choices), choices.start).item() == pytest.approx(0, abs=1e-7)


def test_what_is_rewarded_becomes_more_probable_and_its_words_elsewhere_too():
    policy = made()
    choices = policy.choices(LOOKS)
    before = policy(choices).exp().detach()
    actions = torch.tensor([[0, 2], [0, 1]])
    reward = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])  # plain is rewarded, dots are not
    optimiser = torch.optim.SGD(policy.parameters(), lr=0.1)
    for _ in range(5):
        optimiser.zero_grad()
        keyword_loss(policy(choices), actions, reward).backward()
        optimiser.step()
    after = policy(choices).exp().detach()
    assert after[0, 2] > before[0, 2]
    assert after[1, 0] > before[1, 0]
    assert policy.offset[2] > 0 > policy.offset[1]
    assert divergence(policy(choices), choices.start) > 0


def test_equal_rewards_move_nothing():
    policy = made()
    keyword_loss(policy(policy.choices(LOOKS)), torch.tensor([[0, 1], [1, 0]]), torch.ones(2, 2)).backward()
    assert policy.offset.grad.abs().max() == 0


def test_actions_are_drawn_as_the_policy_says_and_by_their_own_streams():
    policy = made()
    log_policy = policy(policy.choices(LOOKS))
    drawn = draw_actions(log_policy, 4000, [Rng(k).torch() for k in range(2)])
    np.testing.assert_allclose(
        np.bincount(drawn[0].numpy(), minlength=3) / 4000, log_policy[0].exp().tolist(), atol=0.03
    )
    alone = draw_actions(log_policy[1:], 4000, [Rng(1).torch()])
    assert torch.equal(alone[0], drawn[1])


def test_caution_prefers_what_is_sure():
    looks = [Looks([["red"], ["blue"]], np.array([2.0, 0.0]), np.array([1.0, 0.0]), np.arange(2))]
    bold, careful = made(), made(caution=10.0)
    assert bold(bold.choices(looks)).argmax(1).tolist() == [0]
    assert careful(careful.choices(looks)).argmax(1).tolist() == [1]
