"""What RAGAR learns from, on tiny models of the real classes and a ranker whose answer is certain."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_ranker import Brightness, LikesBright, SureOfBright

from generators.keywords import Keywords
from generators.ragar import RAGAR
from generators.ragar.reflection import reward_of
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.datasets.boutique import world as boutique
from recsim_gen.datasets.episodes import training_episodes
from recsim_gen.models.family import open_family
from recsim_gen.testing import tiny_models

SMALL = {
    "encoder": "tiny_ranker:Brightness",
    "steps": 3,
    "warm_start": 2,
    "batch_size": 2,
    "noises": 2,
    "image_tokens": 2,
    "mapper_width": 8,
    "mapper_layers": 1,
    "mapper_heads": 2,
    "mapper_feed_forward": 8,
    "fusion_heads": 2,
    "queries": 4,
    "lora_rank": 2,
    "reward_steps": 1,
    "evaluate_every": 2,
    "evaluation_episodes": 2,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A small shop whose image features are brightness, its training episodes, and a tiny family."""
    folder = tmp_path_factory.mktemp("ragar")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(folder / "cache"))
        patch.syspath_prepend(str(Path(tiny_models.__file__).parent))
        assert "tiny_ranker" in sys.modules
        shop = boutique.load(n_items=80, n_users=12)
        pictures = [shop.catalog.images.read(row) for row in range(80)]
        catalog = shop.catalog.with_features("image", None, Brightness().encode_images(pictures))
        family = replace(open_family(tiny_models.save_family(folder / "family")), steps=2)
        yield catalog, training_episodes(shop, least=5), family


def make(world, **settings):
    return RAGAR(models=world[2], device="cpu", **{**SMALL, **settings})


def training(world, **settings):
    made = make(world, **settings)
    made._catalog = world[0]
    judge = made._picture_judge(LikesBright(world[0])) if made.config.rewarded else None
    return made._new_action().training(judge, Rng(0))


def test_the_gradient_reaches_what_is_learned_and_nothing_else(world):
    made = training(world)
    network, pipeline = made.network, made.sampler.pipeline
    learned = network.trainable()
    kinds = ("lora_A", "lora_B", "trainable_tokens_delta", "mapper.", "fusion.")
    assert all(any(kind in name for name in learned) for kind in kinds)
    assert all(any(kind in name for kind in kinds) for name in learned)
    parts = {"net": network, "unet": pipeline.unet, "vae": pipeline.vae, "text": pipeline.text_encoder}
    state = {f"{p}.{n}": x for p, m in parts.items() for n, x in m.state_dict().items()}
    before = {name: x.clone() for name, x in state.items()}
    optimiser = torch.optim.AdamW(learned.values(), lr=0.1)
    for step in range(2):  # LoRA's own start at zero keeps its other half still for one step
        optimiser.zero_grad()
        made.joint(world[1][:2], Rng(0).for_(step))["loss"].backward()
        optimiser.step()
    for name, x in learned.items():
        assert x.grad.abs().max() > 0, name
    moved = {name for name, x in state.items() if not torch.equal(before[name], x)}
    assert moved == {f"net.{name}" for name in learned}


def test_without_the_detach_the_reward_moves_nothing(world):
    from recsim_gen.judging.reward import policy_loss

    made = training(world)
    found, key = made.states(made.evidence.of(world[1][:2]))
    seen = made.reflection(world[1][:2], found.learned, key, Rng(3))
    noise = seen.action - found.learned.detach()[:, None]
    alive = found.learned[:, None] + noise
    for detach in (False, True):
        loss = policy_loss(alive, found.learned, 0.5, seen.reward, standardise=True, detach=detach)
        gradient = torch.autograd.grad(loss, found.learned, retain_graph=True)[0]
        assert (gradient.abs().max() > 1e-6) == detach


@pytest.mark.parametrize(("reading", "sign"), [("corrected", 1), ("literal", -1)])
def test_the_readings_move_the_score_in_opposite_directions(world, reading, sign):
    """A score that is linear in the action: a step on the loss raises it as meant, lowers it as printed."""
    reflection = training(world, reading=reading, noises=200, sigma=0.1).reflection
    mean, key = torch.zeros(1, 2, 4, requires_grad=True), torch.zeros(1, 1, 4)
    action = reflection.actions(world[1][:1], mean.detach(), key, Rng(0))
    direction = torch.randn(action.shape[2:], generator=Rng(1).torch())
    score = (action * direction).sum((2, 3)).double()
    reward = reward_of(torch.cat([score, score[:, :1]], 1), score[:, 0], reflection.config)
    from generators.ragar.reflection import Reflected

    loss = reflection.loss(Reflected(action, reward, score[:, 0], torch.empty(0)), mean, key)
    step = -torch.autograd.grad(loss, mean)[0]
    assert sign * float((step * direction[:2]).sum()) > 0


def test_without_retrieval_or_weights_the_parts_are_dropped(world):
    parts = training(world).joint(world[1][:2], Rng(0))
    assert {"calibrator", "semantic", "rank", "reward", "gain"} <= set(parts)
    assert "calibrator" not in training(world, k=0).joint(world[1][:2], Rng(0))
    assert "calibrator" not in training(world, calibrator_weight=0.0).joint(world[1][:2], Rng(0))
    assert "semantic" not in training(world, semantic_weight=0.0).joint(world[1][:2], Rng(0))
    assert "rank" not in training(world, reward="none").joint(world[1][:2], Rng(0))
    assert "rank" not in training(world, noises=0).joint(world[1][:2], Rng(0))


def test_the_first_picture_is_that_of_the_keywords(world):
    """P_gen begins beside E_key, and the noise-free sample is drawn from the same latents as E_key's."""
    made = training(world)
    found, key = made.states(made.evidence.of(world[1][:2]))
    seen = made.reflection(world[1][:2], found.learned, key, Rng(3))
    apart = (seen.pixels[:, 0] - seen.pixels[:, -1]).abs().mean()
    noisy = (seen.pixels[:, 1] - seen.pixels[:, -1]).abs().mean()
    assert apart < noisy
    assert torch.equal(seen.action[:, 0], found.learned)


def test_a_killed_training_ends_with_the_same_weights(world, tmp_path, monkeypatch):
    from generators.ragar.training import Training

    how = {"ranker": LikesBright(world[0]), "rng": Rng(0), "judge": LikesBright(world[0], -1.0)}
    whole = make(world).fit(world[0], world[1], **how)
    undisturbed, calls = Training.joint, []
    monkeypatch.setattr("recsim_gen.core.training_loop.SECONDS_BETWEEN_CHECKPOINTS", -1.0)

    def killed(self, *args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return undisturbed(self, *args)

    monkeypatch.setattr(Training, "joint", killed)
    with pytest.raises(KeyboardInterrupt):
        make(world).fit(world[0], world[1], work=tmp_path, **how)
    again = make(world).fit(world[0], world[1], work=tmp_path, **how)
    assert len(calls) == 1 + SMALL["steps"]  # what was done is not done again
    assert again.fingerprint == whole.fingerprint
    assert list(tmp_path.iterdir()) == []


def test_wrong_input_is_told(world):
    catalog, episodes, _ = world
    with pytest.raises(SettingError, match=r"learns from a ranker's scores.*--judges"):
        make(world).fit(catalog, episodes, rng=Rng(0))
    how = {"ranker": LikesBright(catalog), "rng": Rng(0)}
    with pytest.raises(
        DataError, match=r"'pixels' does not give the picture of item 'i00000'.*Set `encoder`"
    ):
        make(world, encoder="pixels").fit(catalog, episodes, **how)
    with pytest.raises(DataError, match=r"image features.*are wanted; have \[\]"):
        make(world).fit(replace(catalog, features={}), episodes, **how)
    for wrong in ({"sigma": 0.0}, {"k": -1}, {"mapper_width": 9}, {"reading": "printed"}, {"batch_size": 0}):
        with pytest.raises(SettingError, match=next(iter(wrong))):
            make(world, **wrong)


def test_no_ranker_is_wanted_where_none_is_asked(world):
    assert RAGAR.uses_ranker
    assert make(world).uses_ranker
    assert not make(world, reward="none").uses_ranker
    make(world, reward="none").fit(world[0], world[1], rng=Rng(0))


def test_an_anchor_pulls_the_policy_back_to_its_start(world):
    """There it is 0; away from it the gradient leads back; without its weight it is not computed."""
    settings = {"reward": "none", "calibrator_weight": 0.0, "semantic_weight": 0.0}
    assert "anchor" not in training(world, **settings).joint(world[1][:2], Rng(0))
    made = training(world, anchor=1.0, **settings)
    made.keep_start()
    learned = list(made.network.trainable().values())

    def divergence():
        return made.joint(world[1][:2], Rng(0))["loss"]

    assert divergence().item() == pytest.approx(0, abs=1e-9)
    with torch.no_grad():
        for k, x in enumerate(learned):
            x.add_(torch.randn(x.shape, generator=Rng(k).torch()), alpha=0.1)
    away = divergence()
    gradient = torch.autograd.grad(away, learned, allow_unused=True)
    with torch.no_grad():
        for x, g in zip(learned, gradient, strict=True):
            if g is not None:
                x.sub_(g, alpha=1e-2)
    assert 0 < divergence().item() < away.item()


@pytest.mark.parametrize("settings", [{"evidence": "taste"}, {"reward": "gain"}, {"candidates": 3}])
def test_what_is_ours_can_be_set_beside_what_is_the_papers(world, settings, monkeypatch):
    """Each of our settings by itself, with the paper's action, is trained, drawn, kept and found again."""
    # The tiny language model says the same of every item: the words of the titles stand in.
    monkeypatch.setattr(
        Keywords, "of_all", lambda self: [str(title).split()[:-1] for title in self._catalog.titles]
    )
    judge = SureOfBright(world[0])
    made = make(world, warm_start=0, **settings)
    made.fit(world[0], world[1], ranker=judge, rng=Rng(0))
    plain = make(world, warm_start=0).fit(world[0], world[1], ranker=judge, rng=Rng(0))
    episodes = world[1][:6]
    drawn, paper = (g.generate(episodes, rng=Rng(1)).pixels for g in (made, plain))
    assert not torch.equal(drawn, paper)
    again = make(world, warm_start=0, **settings)
    again._catalog = world[0]
    again.restore(made.weights())
    again.judged_by(judge)
    assert torch.equal(again.generate(episodes, rng=Rng(1)).pixels, drawn)
    if "candidates" in settings:  # the first of them is the paper's picture
        assert (drawn.mean((1, 2, 3)) >= paper.mean((1, 2, 3)) - 1e-6).all()  # equally bright ones tie


def test_a_recipe_is_the_families_own_unless_it_is_named(world):
    ours, paper = make(world).config, RAGAR(models=world[2], recipe="paper").config
    assert (ours.recipe, paper.recipe, paper.lr, paper.mapper_width) == ("embedded", "paper", 1e-5, 512)
    big = replace(world[2], name="paper")
    assert RAGAR(models=big).config == paper
    assert RAGAR(models=big, lr=0.1).config == replace(paper, lr=0.1)
    assert RAGAR(models=big, recipe="embedded").config == RAGAR(models=world[2]).config
    with pytest.raises(SettingError, match="'recipe' of RAGARConfig must be one of"):
        RAGAR(models=big, recipe="papr")


def test_the_map_of_the_calibrator_can_be_learned(world):
    made = training(world, calibrator_map="learned")
    assert {"visual.weight", "visual.bias"} <= set(made.network.trainable())
    loss = made.joint(world[1][:2], Rng(0))["calibrator"]
    assert np.isfinite(loss.item())


def test_what_the_ranker_says_is_learned(world):
    """Bright pictures are rewarded: those that are drawn become brighter."""
    settings = {"lr": 0.02, "noises": 7, "sigma": 1.0, "margin": 10.0, "evaluate_every": 100}
    quiet = {"calibrator_weight": 0.0, "semantic_weight": 0.0, "warm_start": 0, "weight_decay": 0.0}
    light = []
    for steps in (0, 30):
        generator = make(world, steps=steps, **settings, **quiet)
        generator.fit(world[0], world[1], ranker=LikesBright(world[0]), rng=Rng(0))
        light.append(float(generator.generate(world[1][:12], rng=Rng(1)).pixels.mean()))
    assert light[1] > light[0]


def test_trainings_that_differ_in_the_rest_share_the_warm_start(world, tmp_path, monkeypatch, capfd):
    """What one kept is what the other would have learned."""

    def learned(cache, **settings):
        monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / cache))
        made = make(world, reward="none", **settings).fit(world[0], world[1], rng=Rng(0))
        return made.weights(), "warm start found" in capfd.readouterr().err

    alone, found = learned("one", semantic_weight=0.5)
    assert not found
    learned("two", semantic_weight=0.1)
    shared, found = learned("two", semantic_weight=0.5)
    assert found
    assert all(torch.equal(shared[name], x) for name, x in alone.items())
    assert not learned("two", mapper_layers=2)[1]
    monkeypatch.setattr(RAGAR, "training_version", RAGAR.training_version + 1)
    assert not learned("two", semantic_weight=0.5)[1]  # changed code does not take what the old one left
