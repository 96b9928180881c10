"""The reward and its gradient: Eq. 13–15 by hand, the laws, and who climbs from the same start."""

from __future__ import annotations

import pytest
import torch

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.judging.reward import advantages, log_probability, policy_loss, rewards


def test_equation_14_by_hand():
    generated = torch.tensor([[1.0, 0.2, -1.0]])
    contrasts = torch.tensor([[0.5, 0.0]])  # ref, key
    corrected = rewards(generated, contrasts, margin=0.1)
    torch.testing.assert_close(corrected, -torch.tensor([[0.0, 0.4, 1.6 + 1.1]]))
    literal = rewards(generated, contrasts, margin=0.1, reading="literal")
    torch.testing.assert_close(literal, torch.tensor([[0.0 + 0.1, 0.3 + 0.1, 1.5 + 1.0 + 0.1]]))


def test_a_higher_score_is_never_rewarded_less_and_as_printed_never_more():
    score = torch.linspace(-3, 3, 50)[None]
    contrasts = torch.tensor([[0.4, -0.7]])
    assert (rewards(score, contrasts).diff() >= 0).all()
    assert (rewards(score, contrasts)[0, -1], rewards(score, contrasts).max()) == (0, 0)
    assert (rewards(score, contrasts, reading="literal").diff() <= 0).all()


def test_scores_get_a_gradient():
    score = torch.tensor([[0.0, 2.0]], requires_grad=True)
    rewards(score, torch.tensor([[0.5, 0.5]])).sum().backward()
    assert score.grad.tolist() == [[2.0, 0.0]]  # behind both, ahead of both


def test_the_baseline_is_the_mean_of_the_others():
    reward = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    a = advantages(reward)
    for t in range(5):
        others = [s for s in range(5) if s != t]
        torch.testing.assert_close(a[:, t], reward[:, t] - reward[:, others].mean(1))
    torch.testing.assert_close(a.sum(1), torch.zeros(4), atol=1e-5, rtol=0)


def test_standardised_users_count_alike_whatever_their_scale():
    reward = torch.tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0], [4.0, 4.0, 4.0]])
    a = advantages(reward, standardise=True)
    torch.testing.assert_close(a[0], a[1])
    assert (a[2] == 0).all()
    shifted = advantages(reward + 7, standardise=True)
    torch.testing.assert_close(a, shifted)


def test_log_probability_is_that_of_torch():
    draw = torch.Generator().manual_seed(1)
    mean, action = torch.randn(3, 4, 5, generator=draw), torch.randn(3, 2, 4, 5, generator=draw)
    each = torch.distributions.Normal(mean[:, None], 0.7).log_prob(action)
    torch.testing.assert_close(log_probability(action, mean, 0.7), each.mean((2, 3)))
    torch.testing.assert_close(log_probability(action, mean, 0.7, reading="literal"), each.sum((2, 3)))


def climb(reading: str, *, detach: bool = True, steps: int = 150) -> tuple[float, torch.Tensor]:
    """Score of the policy's mean at the end, and how far it moved; score = −‖a − goal‖, r = 3."""
    draw = torch.Generator().manual_seed(0)
    goal = torch.tensor([[3.0, -2.0, 1.0, 0.5]])
    mean = torch.zeros(1, 4, requires_grad=True)
    optimizer = torch.optim.SGD([mean], lr=0.1)
    sigma = 0.3
    for _ in range(steps):
        action = mean[:, None] + sigma * torch.randn(1, 3, 4, generator=draw)
        with torch.no_grad():
            generated = -(action - goal[:, None]).norm(dim=2)
            contrasts = torch.tensor([[-1.0, -2.0]])
            reward = rewards(generated, contrasts, margin=0.2, reading=reading)
        optimizer.zero_grad()
        policy_loss(action, mean, sigma, reward, reading=reading, detach=detach).backward()
        if not detach:
            assert (mean.grad == 0).all()
        optimizer.step()
    return -float((mean.detach() - goal).norm()), mean.detach()


def test_corrected_climbs_literal_falls_and_an_undetached_sample_does_not_move_at_all():
    start = -float(torch.tensor([3.0, -2.0, 1.0, 0.5]).norm())
    corrected, _ = climb("corrected")
    literal, _ = climb("literal")
    assert corrected > start + 1
    assert literal < start - 1
    for reading in ("corrected", "literal"):
        score, mean = climb(reading, detach=False, steps=20)
        assert (mean == 0).all()
        assert score == pytest.approx(start)


def test_a_noise_free_sample_moves_nothing_but_the_baseline():
    mean = torch.zeros(1, 2, requires_grad=True)
    action = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])
    policy_loss(action, mean, 1.0, torch.tensor([[0.0, 1.0]])).backward()
    # A = (−1, 1); only the noisy sample pulls: −½·(1/2)·(1, 0)
    torch.testing.assert_close(mean.grad, torch.tensor([[-0.25, 0.0]]))


def test_what_cannot_be_is_told():
    two = torch.zeros(2, 3)
    with pytest.raises(SettingError, match=r"unknown reading 'literla'.*Did you mean 'literal'"):
        rewards(two, two, reading="literla")
    with pytest.raises(SettingError, match="margin must be 0 or more"):
        rewards(two, two, margin=-1)
    with pytest.raises(DataError, match=r"\(B, T\) and contrasts \(B, C\), got \(2, 3\) and \(1, 3\)"):
        rewards(two, two[:1])
    with pytest.raises(SettingError, match="at least 2 images"):
        advantages(two[:, :1])
    with pytest.raises(DataError, match="action must be"):
        log_probability(torch.zeros(2, 3, 4), torch.zeros(2, 5), 1.0)
    with pytest.raises(SettingError, match="sigma must be above 0"):
        log_probability(torch.zeros(2, 3, 4), torch.zeros(2, 4), 0.0)
    with pytest.raises(DataError, match=r"reward must be \(2, 3\), got \(2, 2\)"):
        policy_loss(torch.zeros(2, 3, 4), torch.zeros(2, 4), 1.0, torch.zeros(2, 2))
