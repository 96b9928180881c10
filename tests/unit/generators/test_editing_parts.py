"""Parts of the editors: instructions, pairs to learn from, and the UNet that sees a picture."""

import numpy as np
import pytest
import torch

from generators.editing.instructions import KEEP, additions, look
from generators.editing.pairs import draw_pairs
from generators.editing.training import dropped, editing_unet
from recsim_gen.core.randomness import Rng
from recsim_gen.datasets.boutique.attributes import Attributes
from recsim_gen.models.family import open_family
from recsim_gen.pretraining.source import looks_by_split


def test_an_instruction_names_the_whole_look():
    assert look(["green", "white", "dots"]) == "make it green, white, dots"


def test_where_keywords_have_no_places_what_lacks_is_added():
    assert additions(["Red", "silk"], ["red", "long", "warm", "soft"], 2) == "make it long and warm"
    assert additions(["red"], ["Red"], 3) == KEEP


@pytest.fixture(scope="module")
def pairs():
    return draw_pairs(looks_by_split()["train"], 60, Rng(0))


def test_pairs_are_edits_among_the_looks_that_may_be_learned_from(pairs):
    held_out = {tuple(look) for name in ("valid", "test") for look in looks_by_split()[name].tolist()}
    assert not held_out & {tuple(look) for look in pairs.codes.reshape(-1, 4).tolist()}
    before, after = pairs.codes[:, 0], pairs.codes[:, 1]
    assert (before[:, 0] == after[:, 0]).all()
    assert set((before != after).sum(1).tolist()) == {0, 1, 2, 3}


def test_the_instruction_of_a_pair_is_the_look_after(pairs):
    for after, told in zip(pairs.codes[:, 1], pairs.instructions, strict=True):
        shown = Attributes.of(after)
        assert told == f"make it {shown.main}, {shown.second}, {shown.pattern}"


def test_pictures_of_a_pair_differ_in_what_was_changed_alone(pairs):
    """Where nothing changes they are equal; else background and pose stay."""
    same = (pairs.codes[:, 0] == pairs.codes[:, 1]).all(1)
    assert 0 < same.sum() < len(same)
    for equal, (before, after) in zip(same, pairs.pictures, strict=True):
        assert np.array_equal(before, after) == equal
        assert np.array_equal(before[:3, :3], after[:3, :3])  # a corner of the background


def test_equal_streams_draw_equal_pairs(pairs):
    again = draw_pairs(looks_by_split()["train"], 60, Rng(0))
    assert np.array_equal(again.pictures, pairs.pictures)
    assert again.instructions == pairs.instructions


def test_as_it_starts_the_unet_does_what_the_familys_does_whatever_it_sees():
    unet = open_family().diffusion(device="cpu").unet
    editing = editing_unet(unet).eval()
    draw = torch.Generator().manual_seed(0)
    x, picture = torch.randn(2, 1, unet.config.in_channels, 8, 8, generator=draw)
    states = torch.randn(1, 4, unet.config.cross_attention_dim, generator=draw)
    with torch.no_grad():
        own = unet(x, 5, states).sample
        seeing = editing(torch.cat([x, picture], dim=1), 5, states).sample
    assert editing.config.in_channels == 2 * unet.config.in_channels
    assert torch.allclose(own, seeing, atol=1e-5)


def test_text_picture_and_both_are_dropped_equally_often():
    text, picture = dropped((np.arange(1000) + 0.5) / 1000, 0.05)
    assert [(text & ~picture).sum(), (picture & ~text).sum(), (text & picture).sum()] == [50, 50, 50]
    assert not any(part.any() for part in dropped(np.zeros(3), 0.0))
