"""What the two nets of GLIDE are trained for."""

from __future__ import annotations

import torch
from torch.distributions import Normal, kl_divergence

from recsim_gen.core.randomness import Rng
from recsim_gen.models.glide.config import NetConfig
from recsim_gen.models.glide.sampling import enlarge, new_scheduler, quantised, to_picture, to_residual
from recsim_gen.pretraining.glide import RESIDUAL, base_losses, upsampler_losses, variance_bits

SCHEDULER = new_scheduler(NetConfig(prediction="v_prediction"))


class Perfect:
    """A net that knows the picture and so predicts its velocity."""

    def __init__(self, clean, noise="squaredcos_cap_v2", channels=6):
        size = clean.shape[-1]
        self.config = NetConfig(
            image_size=size, noise=noise, prediction="v_prediction", out_channels=channels
        )
        self.clean, self.share = clean, torch.full((1,), -1.0, requires_grad=True)

    def __call__(self, noisy, t, states, enlarged=None):
        alphas = new_scheduler(self.config).alphas_cumprod[t][:, None, None, None]
        velocity = (alphas.sqrt() * noisy - self.clean) / (1 - alphas).sqrt()
        return torch.cat([velocity, self.share.expand_as(velocity)], dim=1)[:, : self.config.out_channels]


def pictures(size, seed=0):
    return torch.rand(4, 3, size, size, generator=Rng(seed).torch()) * 2 - 1


def test_a_net_that_knows_the_small_picture_loses_nothing():
    """Neither in v nor in bits, its variance being that of the true posterior."""
    pixels = pictures(32)
    small = torch.nn.functional.avg_pool2d(pixels, 4)
    losses = base_losses(Perfect(small), pixels, torch.zeros(4, 2, 3), Rng(1).torch())
    assert losses["mse"] < 1e-6
    assert losses["bits"] < 1e-3
    wrong = base_losses(Perfect(small + 0.1), pixels, torch.zeros(4, 2, 3), Rng(1).torch())
    assert wrong["mse"] > 1e-3


def test_a_net_that_knows_what_bilinear_lacks_loses_nothing():
    pixels = pictures(32)
    enlarged = enlarge(quantised(torch.nn.functional.avg_pool2d(pixels, 4)), 32)
    clean = RESIDUAL * (pixels - enlarged)
    losses = upsampler_losses(Perfect(clean, "linear", 3), pixels, torch.zeros(4, 2, 3), Rng(1).torch())
    assert losses["loss"] < 1e-6


def test_the_residual_gives_the_picture_back():
    one, other = pictures(8), pictures(8, 1)
    torch.testing.assert_close(to_picture(to_residual(one, other, 4.0), other, 4.0), one)
    assert to_residual(one, other, 0.0) is one


def test_bits_are_the_divergence_of_the_two_steps():
    """Against torch's own KL of the two normal distributions, and blind to t = 0."""
    alphas, t = SCHEDULER.alphas_cumprod.double(), torch.tensor([1, 300, 800, 0])
    random = Rng(0).torch()
    clean, noise, share = (torch.randn(4, 3, 2, 2, generator=random, dtype=torch.float64) for _ in range(3))
    share = share.tanh()
    now, before = (alphas[(t - k).clamp(min=0)][:, None, None, None] for k in (0, 1))
    noisy = now.sqrt() * clean + (1 - now).sqrt() * noise
    guess = clean + 0.1 * noise
    velocity = (now.sqrt() * noisy - guess) / (1 - now).sqrt()
    beta = 1 - now / before

    def mean(x):
        kept = (1 - beta).sqrt() * (1 - before) / (1 - now)
        return before.sqrt() * beta / (1 - now) * x + kept * noisy

    least = beta * (1 - before) / (1 - now)
    spread = least ** ((1 - share) / 2) * beta ** ((1 + share) / 2)
    true, own = Normal(mean(clean)[:3], least[:3].sqrt()), Normal(mean(guess)[:3], spread[:3].sqrt())
    wanted = kl_divergence(true, own).mean((1, 2, 3)).sum() / 4 / torch.tensor(2.0).log()
    bits = variance_bits(velocity, share, clean, noisy, t, alphas)
    torch.testing.assert_close(bits, wanted.double(), rtol=1e-5, atol=0)


def test_the_variance_learns_and_leaves_the_mean_alone():
    """Its bits are of no weight in what the velocity learns."""
    pixels, net = pictures(32), Perfect(torch.zeros(4, 3, 8, 8))
    velocity = torch.zeros(1, requires_grad=True)
    known = net.__call__

    class Net:
        config = net.config

        def __call__(self, noisy, t, states):
            predicted = known(noisy, t, states)
            return torch.cat([predicted[:, :3] + velocity, predicted[:, 3:]], dim=1)

    losses = base_losses(Net(), pixels, torch.zeros(4, 2, 3), Rng(1).torch())
    grads = torch.autograd.grad(losses["bits"], [velocity, net.share], allow_unused=True)
    assert not grads[0].any()
    assert grads[1].abs().sum() > 0
