"""Laws of Diffusion-DPO, on tiny models of the real classes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from generators.denoising import Denoising, frozen_sampler
from generators.ragar.pairs import Pairs
from generators.ragar.preference import preference_loss, squared_errors
from generators.unet_lora import install, restore, without
from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.models.family import open_family
from recsim_gen.testing import tiny_models

BETA = 50.0


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preference")
    return replace(open_family(tiny_models.save_family(folder)), steps=2)


@pytest.fixture
def world(family):
    """What denoises, its LoRA, and two pairs of random latents."""
    sampler = frozen_sampler(replace(family), "cpu")
    learned = install(sampler.pipeline.unet, 4, 4, Rng(0))
    latents = torch.randn(2, 2, *sampler.latent_shape, generator=Rng(1).torch())
    return Denoising(sampler, None), learned, Pairs(["red shirt", "blue armchair"], latents)


def loss_of(denoising, pairs, step, rows=(0, 1)):
    return preference_loss(*squared_errors(denoising, pairs, rows, step), BETA)


def gradient(denoising, learned, pairs):
    loss = loss_of(denoising, pairs, Rng(5))["loss"]
    return torch.autograd.grad(loss, list(learned.values()))


def move(learned):
    """LoRA somewhere else than at its start."""
    with torch.no_grad():
        for k, x in enumerate(learned.values()):
            x.add_(torch.randn(x.shape, generator=Rng(k).torch()), alpha=0.3)


def test_the_loss_is_equation_14():
    errors = np.array([[0.5, 0.2, 0.7], [0.4, 0.6, 0.7]])
    reference = np.array([[0.6, 0.1, 0.7], [0.3, 0.6, 0.7]])
    m = [-3 * ((w - w0) - (v - v0)) for w, v, w0, v0 in zip(*errors, *reference, strict=True)]
    found = preference_loss(torch.from_numpy(errors), torch.from_numpy(reference), 3.0)
    assert found["loss"].item() == pytest.approx(np.mean([-math.log(1 / (1 + math.exp(-x))) for x in m]))
    assert found["margin"].item() == pytest.approx(np.mean(m))
    assert found["accuracy"].item() == pytest.approx((1 + 0 + 0.5) / 3)


def test_at_the_start_nothing_is_decided(world):
    denoising, _, pairs = world
    found = loss_of(denoising, pairs, Rng(5))
    assert found["loss"].item() == pytest.approx(math.log(2), abs=1e-7)
    assert found["accuracy"].item() == 0.5
    assert found["margin"].item() == 0


def test_swapped_pairs_turn_the_gradient_round(world):
    denoising, learned, pairs = world
    swapped = Pairs(pairs.texts, pairs.latents.flip(1))
    one, other = (gradient(denoising, learned, each) for each in (pairs, swapped))
    assert max(x.abs().max() for x in one) > 1e-4
    for x, y in zip(one, other, strict=True):
        torch.testing.assert_close(x, -y, rtol=1e-3, atol=1e-7)


def test_pictures_that_are_the_same_teach_nothing(world):
    denoising, learned, pairs = world
    move(learned)
    same = Pairs(pairs.texts, pairs.latents[:, :1].repeat(1, 2, 1, 1, 1))
    assert max(x.abs().max() for x in gradient(denoising, learned, same)) < 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_one_pair_is_learned_by_heart(world, seed):
    """The better picture comes to be denoised better than the worse one, by noises it never saw, too."""
    denoising, learned, pairs = world

    def apart():
        """e_l − e_w of the first pair, mean over noises that training does not draw."""
        with torch.no_grad():
            errors = [squared_errors(denoising, pairs, [0], Rng(100 + k))[0][:, 0] for k in range(40)]
        better, worse = torch.stack(errors).mean(0).tolist()
        return worse - better, better

    before, _ = apart()
    optimiser = torch.optim.AdamW(learned.values(), lr=0.02)
    for step in range(30):
        optimiser.zero_grad()
        found = loss_of(denoising, pairs, Rng(seed).for_(step), rows=[0] * 8)
        found["loss"].backward()
        optimiser.step()
    after, _ = apart()
    assert after > before
    assert found["loss"] < math.log(2)
    assert found["accuracy"] > 0.5


def test_without_lora_the_unet_is_the_base_to_the_bit(world, family):
    denoising, learned, _ = world
    unet, base = denoising.sampler.pipeline.unet, replace(family).diffusion(device="cpu").unet
    x, states = (torch.randn(shape, generator=Rng(2).torch()) for shape in ((2, 4, 16, 16), (2, 5, 16)))

    def said(model):
        with torch.no_grad():
            return model(x, torch.tensor([3, 700]), encoder_hidden_states=states).sample

    assert torch.equal(said(unet), said(base))  # it starts by adding nothing
    move(learned)
    assert not torch.equal(said(unet), said(base))
    with without(unet):
        assert torch.equal(said(unet), said(base))
    assert not torch.equal(said(unet), said(base))
    assert all(x.requires_grad for x in learned.values())


def test_lora_learns_and_nothing_else(world):
    denoising, learned, _ = world
    unet = denoising.sampler.pipeline.unet
    assert {name for name, x in unet.named_parameters() if x.requires_grad} == set(learned)
    assert all("lora_" in name and x.dtype == torch.float32 for name, x in learned.items())
    kinds = {name.split(".lora_")[0].split("attn")[1][2:] for name in learned}
    assert kinds == {"to_q", "to_k", "to_v", "to_out.0"}


def test_weights_are_put_back_and_others_are_told(world):
    _, learned, _ = world
    kept = {name: x.detach().clone() for name, x in learned.items()}
    move(learned)
    restore(learned, kept)
    assert all(torch.equal(x, kept[name]) for name, x in learned.items())
    name, x = kept.popitem()
    with pytest.raises(DataError, match=f"{name}.*must be .*, got None.*Train again"):
        restore(learned, kept)
    with pytest.raises(DataError, match=r"got \(1, 1\)"):
        restore(learned, {**kept, name: x[:1, :1]})
