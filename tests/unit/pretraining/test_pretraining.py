"""Training a family: a kill changes nothing, what is held out is not learned from, loaders read it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from recsim_gen.core import training_loop as training
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.training_loop import Schedule
from recsim_gen.core.types import Catalog
from recsim_gen.datasets.boutique import world as boutique
from recsim_gen.datasets.boutique.attributes import Attributes
from recsim_gen.datasets.boutique.drawing import render
from recsim_gen.pretraining import autoencoder, clip, diffusion, source


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """The loader's data; its pictures go into a cache of the module's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield boutique.load(n_items=80, n_users=4)


@pytest.fixture(scope="module")
def few(shop):
    """A source of 24 pictures to learn from and 8 to test by."""
    looks = source.looks_by_split()
    codes = np.concatenate([looks["train"][:24], looks["test"][:8]])
    named = [Attributes.of(look) for look in codes]
    return source.PretrainingSource(
        dataset=shop,
        images=np.stack([np.asarray(render(look, Rng(0).for_(i))) for i, look in enumerate(named)]),
        captions=[look.caption(i) for i, look in enumerate(named)],
        titles=[look.title for look in named],
        categories=[look.category for look in named],
        attributes=codes,
        split=np.repeat(["train", "test"], [24, 8]),
        rng=Rng(0),
    )


@pytest.fixture(scope="module")
def family(few, tmp_path_factory):
    """CLIP, autoencoder and UNet after two steps each, and what the last two gave."""
    output = tmp_path_factory.mktemp("family")
    short = {"output": output, "schedule": Schedule(steps=2, lr=1e-3, ema=0.9)}
    clip.pretrain(few, rng=Rng(0).for_("clip"), **short)
    measured = autoencoder.pretrain(few, rng=Rng(0).for_("vae"), **short)
    return output, measured, diffusion.pretrain(few, rng=Rng(0).for_("unet"), **short)


def trained(output, kill_at=None, *, ema=0.9, seed=1):
    """A little network with dropout after 30 steps; ``kill_at`` interrupts the first try at that step."""
    calls = 0

    def once():
        with training.seeded(Rng(0)):
            layers = [torch.nn.Linear(3, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1)]
            model = torch.nn.Sequential(*layers)

        def loss(step):
            nonlocal calls
            calls += 1
            if calls == kill_at:
                raise KeyboardInterrupt
            x = torch.randn(8, 3, generator=step.torch())
            return {"loss": (model(x) - x.sum(1, keepdim=True)).square().mean()}

        schedule = Schedule(steps=30, lr=1e-2, warmup=3, ema=ema)
        numbers = training.fit("net", model, loss, schedule, output=output, data="x", rng=Rng(seed))
        return model.state_dict(), numbers

    if kill_at is not None:
        with pytest.raises(KeyboardInterrupt):
            once()
    weights, numbers = once()
    return weights, numbers, calls


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(tmp_path, monkeypatch, ema):
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0)
    whole, numbers, _ = trained(tmp_path / "a", ema=ema)
    again, numbers_again, calls = trained(tmp_path / "b", kill_at=20, ema=ema)
    assert calls == 31  # 19 steps, the kill, 11 steps: nothing is done twice
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert {**numbers, "seconds": 0} == {**numbers_again, "seconds": 0}


def test_a_step_of_several_batches_follows_their_mean_gradient(tmp_path):
    def weights_after(name, accumulate, parts):
        with training.seeded(Rng(0)):
            model = torch.nn.Linear(3, 1)

        def loss(step):
            losses = []
            for part in parts(step):
                x = torch.randn(8, 3, generator=part.torch())
                losses.append((model(x) - x.sum(1, keepdim=True)).square().mean())
            return {"loss": torch.stack(losses).mean()}

        schedule = Schedule(steps=5, lr=1e-2, accumulate=accumulate)
        how = {"output": tmp_path, "data": "x", "rng": Rng(0)}
        numbers = training.fit(name, model, loss, schedule, **how)
        return [p.detach() for p in model.parameters()], numbers["loss"]

    several, told = weights_after("several", 3, lambda step: [step])

    def batches(step):
        return [step, step.for_("batch", 1), step.for_("batch", 2)]

    at_once, wanted = weights_after("at once", 1, batches)
    first, _ = weights_after("the first alone", 1, lambda step: [step])
    assert told == pytest.approx(wanted, abs=1e-5)
    torch.testing.assert_close(several, at_once, atol=1e-6, rtol=0)
    assert (several[0] - first[0]).abs().max() > 1e-4


def test_another_seed_does_not_take_the_checkpoint(tmp_path):
    _, _, first = trained(tmp_path)
    _, _, same = trained(tmp_path)
    _, _, other = trained(tmp_path, seed=2)
    assert (first, same, other) == (30, 0, 30)
    training.forget(tmp_path, "net")
    assert list(tmp_path.iterdir()) == []


def test_a_broken_checkpoint_is_told_with_its_name(tmp_path):
    trained(tmp_path)
    (path,) = tmp_path.rglob("*.pt")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="Delete it") as error:
        trained(tmp_path)
    assert error.value.file == path
    for other in ({"model": {}}, {"state": 1}, [1, 2]):
        torch.save(other, path)
        with pytest.raises(DataError, match="got a broken file or another's"):
            trained(tmp_path)


def test_training_ends_after_the_minutes_given(tmp_path):
    model = torch.nn.Linear(1, 1)

    def loss(_):
        return {"loss": model.weight.square().sum()}

    minutes = 0.2 / 60
    how = {"output": tmp_path, "data": "x", "rng": Rng(0), "minutes": minutes}
    numbers = training.fit("net", model, loss, Schedule(steps=10**9, lr=1e-3), **how)
    assert 0.2 <= numbers["seconds"] < 2
    assert numbers["steps"] > 1


def test_no_held_out_look_is_among_those_to_learn_from(shop):
    drawn = source.open_source(shop, renders=50, rng=Rng(3))
    looks = [tuple(codes) for codes in drawn.attributes.tolist()]
    by_split = {split: {looks[row] for row in drawn.rows(split)} for split in ("train", "valid", "test")}
    assert [len(by_split[split]) for split in ("train", "valid", "test")] == [50, 80, 1000]
    assert not by_split["train"] & by_split["test"]
    assert not by_split["valid"] & by_split["test"]
    assert not by_split["train"] & by_split["valid"]
    test = [drawn.captions[row] for row in drawn.rows("test")]
    assert len(set(test)) == 1000  # retrieval by caption has one right answer
    assert np.isin(drawn.draw(500, Rng(0).numpy()), drawn.rows("train")).all()
    assert drawn.heldout.sum() == 1240


def test_the_looks_held_out_do_not_depend_on_a_seed_and_are_a_fifth():
    looks = source.looks_by_split()
    held_out = len(looks["test"]) + len(looks["valid"])
    assert held_out == 0.2 * sum(map(len, looks.values()))
    every = np.concatenate(list(looks.values()))
    assert len(np.unique(every, axis=0)) == 5400


def test_other_data_are_their_own_items_with_the_whole_picture_shown(shop):
    plain = replace(shop.catalog, images=Wide(80))
    bought = source.open_source(replace_dataset(shop, plain), size=32, rng=Rng(0))
    assert bought.images.shape == (79, 32, 32, 3)  # row 0 has no picture
    assert (len(bought.rows("test")), len(bought.rows("valid"))) == (8, 2)
    pixels = bought.pixels(np.array([5]))[0]
    assert torch.allclose(pixels[:, 0, 0], torch.tensor([200, 100, 50]) / 255)  # border's colour
    assert torch.allclose(pixels[:, 16, 16], torch.tensor([0, 0, 1.0]), atol=0.02)
    with pytest.raises(SettingError, match="only boutique"):
        bought.other_renders("verifier")


class Wide:
    """Blue discs, here a block, in a wide picture; the first item has none."""

    fingerprint = "wide"

    def __init__(self, n):
        self.present = np.arange(n) > 0

    def read(self, row):
        from PIL import Image

        pixels = np.full((40, 80, 3), (200, 100, 50), np.uint8)
        pixels[10:30, 30:50] = (0, 0, 255)
        return Image.fromarray(pixels)


def replace_dataset(shop, catalog: Catalog):
    from recsim_gen.core.types import Dataset

    return Dataset("other", catalog, shop.interactions, shop.episodes, shop.encoders)


def test_latents_have_unit_variance_after_scaling(few, family):
    from diffusers import AutoencoderKL

    output, measured, _ = family
    vae = AutoencoderKL.from_pretrained(output / "vae")
    rows = few.rows("train")
    with torch.inference_mode():
        latents = vae.encode(2 * few.pixels(rows) - 1).latent_dist.sample(generator=Rng(5).torch())
    scaled = latents * vae.config.scaling_factor
    assert float(scaled.square().mean()) == pytest.approx(1, abs=0.1)
    assert measured["psnr"] > 0


def test_the_pipeline_loads_from_its_folder_and_draws(family):
    from diffusers import StableDiffusionPipeline

    output, _, measured = family
    pipeline = StableDiffusionPipeline.from_pretrained(output / "diffusion", local_files_only=True)
    assert {
        p.dtype for m in (pipeline.unet, pipeline.vae, pipeline.text_encoder) for p in m.parameters()
    } == {torch.float32}
    assert pipeline.scheduler.config.timestep_spacing == "trailing"
    assert not pipeline.scheduler.config.clip_sample
    pipeline.set_progress_bar_config(disable=True)
    how = {"num_inference_steps": 2, "guidance_scale": 2.0, "output_type": "np"}
    both = [Rng(0).for_(i).torch() for i in range(2)]
    images = pipeline(["Striped pink T-shirt", "a blue mug"], generator=both, **how).images
    alone = pipeline("a blue mug", generator=Rng(0).for_(1).torch(), **how).images
    assert images.shape == (2, 64, 64, 3)
    assert images.min() >= 0
    assert images.max() <= 1
    assert np.abs(images[0] - images[1]).max() > 1e-3
    np.testing.assert_allclose(images[1], alone[0], atol=1e-4)  # a picture does not depend on its batch
    assert measured["sampling"] == {"steps": 20, "guidance": 2.0}


def test_what_is_kept_is_the_mean_of_the_weights_rounded_to_16_bits(family):
    from safetensors.torch import load_file

    output, _, _ = family
    for part in ("unet", "vae"):
        kept = load_file(output / "diffusion" / part / "diffusion_pytorch_model.safetensors")
        assert {x.dtype for x in kept.values()} == {torch.float16}


def test_the_words_of_the_unet_are_those_of_the_pipeline(family):
    """The states that it is trained on are the ones that the pipeline computes from a prompt."""
    from diffusers import StableDiffusionPipeline

    output, _, _ = family
    pipeline = StableDiffusionPipeline.from_pretrained(output / "diffusion", local_files_only=True)
    texts = ["Striped pink T-shirt", ""]
    ours = diffusion.text_states(pipeline.tokenizer, pipeline.text_encoder, texts)
    theirs, empty = pipeline.encode_prompt(texts, "cpu", 1, do_classifier_free_guidance=True)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(ours[1], empty[0])


def test_the_text_encoder_of_the_pipeline_is_that_of_clip(family):
    """Weights that a loader does not find are filled with noise, without an error."""
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPModel

    output, _, _ = family
    pipeline = StableDiffusionPipeline.from_pretrained(output / "diffusion", local_files_only=True)
    whole = CLIPModel.from_pretrained(output / "clip")
    tokens = pipeline.tokenizer(["a blue mug"], padding="max_length", return_tensors="pt").input_ids
    with torch.inference_mode():
        states = whole.text_model(tokens).last_hidden_state
        theirs = pipeline.text_encoder(tokens).last_hidden_state
    torch.testing.assert_close(theirs, states)


def test_v_is_what_the_scheduler_undoes():
    """A UNet that foretells v exactly gives loss 0, and the sampler then finds the latents."""
    scheduler = diffusion.new_scheduler()
    latents, noise = torch.randn(2, 4, 8, 8, 8, generator=Rng(0).torch()).unbind()

    class Knowing:
        def __call__(self, noisy, t, encoder_hidden_states):
            return type("Output", (), {"sample": scheduler.get_velocity(latents, noise, t)})

    assert diffusion.denoising_loss(Knowing(), scheduler, latents, noise, None, Rng(1).torch()) == 0
    scheduler.set_timesteps(20)
    x = noise
    for t in scheduler.timesteps:
        root = scheduler.alphas_cumprod[t].sqrt()
        v = (root * x - latents) / (1 - scheduler.alphas_cumprod[t]).sqrt()  # from x = √ᾱ x0 + √(1−ᾱ) ε
        x = scheduler.step(v, t, x).prev_sample
    torch.testing.assert_close(x, latents, atol=1e-3, rtol=0)


def test_half_of_the_timesteps_are_late_and_the_others_anywhere():
    t = diffusion.timesteps(20_000, 1000, Rng(0).torch())
    assert t.min() >= 0
    assert t.max() == 999
    assert float((t >= 700).float().mean()) == pytest.approx(0.5 + 0.5 * 0.3, abs=0.02)
    assert float((t < 350).float().mean()) == pytest.approx(0.5 * 0.35, abs=0.02)


def test_a_share_of_the_texts_is_empty(family):
    output, _, _ = family
    _, tokenizer, text_encoder = diffusion._read(output)
    words = diffusion.Words(tokenizer, text_encoder, [[f"item {i}" for i in range(1000)]])
    states = words.states(np.arange(1000), Rng(0).numpy(), 0.1)
    empty = diffusion.text_states(tokenizer, text_encoder, [""])
    share = float((states == empty).all(2).all(1).float().mean())
    assert share == pytest.approx(0.1, abs=0.03)


def test_the_unet_tells_what_it_needs_first(few, tmp_path):
    with pytest.raises(SettingError, match=r"needs part vae.*train it first"):
        diffusion.pretrain(few, tmp_path, rng=Rng(0))
