"""What is exported is read by the ordinary loaders, and is what the generator itself draws with."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from tiny_ranker import Brightness, SureOfBright

from generators.keywords import Keywords
from recsim_gen import export
from recsim_gen.core.config import run
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import GENERATORS, resolve
from recsim_gen.testing import tiny

__all__ = ["tiny"]  # a fixture

RAGAR = {"steps": 2, "batch_size": 2, "lora_rank": 2}
SETTINGS = {
    "textual_inversion": {"steps": 2, "batch_size": 2, "vectors": 2},
    "ip_adapter": {"steps": 2, "batch_size": 2, "images": 2},
    "pmg": {"steps": 2, "batch_size": 2, "history": 2},
    "ragar": {
        **{**RAGAR, "reward": "none", "warm_start": 2, "image_tokens": 2, "mapper_width": 8, "queries": 4},
        **{"mapper_layers": 1, "mapper_heads": 2, "mapper_feed_forward": 8, "fusion_heads": 2},
    },
    "ragar_taste": {"reward": "none", "encoder": "tiny_ranker:Brightness", "candidates": 2, "looks": 4},
    "ragar_dpo": {
        **{**RAGAR, "encoder": "tiny_ranker:Brightness", "candidates": 1, "looks": 4, "pairs": 5},
        **{"noises": 2, "reward_steps": 1},
    },
    "edit": {"draw_steps": 2, "strength": 0.5},
    "instruct_edit": {"steps": 2, "batch_size": 2, "pairs": 4, "draw_steps": 2},
    "lavit": {
        **{"steps": 2, "language_steps": 2, "batch_size": 2, "language_batch_size": 2, "images": 2},
        **{"codes": 12, "code_width": 4, "min_codes": 2, "keep": 0.3},
    },
}
FEW = ["--data=boutique", "--data-settings.n_items=80", "--data-settings.n_users=12"]


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    """A generator of each name, trained, kept and exported by the command; each once."""
    shop, family = tiny
    root, made = tmp_path_factory.mktemp("exported"), {}

    def make(name):
        if name not in made:
            made[name] = (*fitted(name, shop, family), root / name)
            made[name][0].save(root / f"{name}-kept")
            argv = [f"--checkpoint={root / f'{name}-kept'}", f"--output={root / name}"]
            assert run(export.main, [*FEW, *argv, f"--models={family.name}", "--quiet"]) == 0
        return made[name]

    return make


def fitted(name, shop, family):
    """A generator and an episode; some have a judge that likes bright pictures."""
    catalog, ranker = shop.catalog, None
    if "encoder" in SETTINGS[name]:
        pictures = [catalog.images.read(row) for row in range(len(catalog))]
        catalog = catalog.with_features("image", None, Brightness().encode_images(pictures))
        ranker = SureOfBright(catalog, 1.0)
    made = resolve(name, GENERATORS, "generator")(models=family, device="cpu", **SETTINGS[name])
    return made.fit(catalog, shop.episodes, ranker=ranker, rng=Rng(0)), shop.episodes[0]


@pytest.fixture(autouse=True)
def words_of_titles(monkeypatch):
    """The tiny language model says the same of every item: the words of the titles stand in."""
    monkeypatch.setattr(
        Keywords, "of_all", lambda self: [str(title).split()[:-1] for title in self._catalog.titles]
    )


def loaded(folder, monkeypatch):
    """The names that the card's own Python leaves, run in the folder as it says."""
    monkeypatch.chdir(folder)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL):
        exec(block, names)
    return names


@pytest.mark.parametrize("name", SETTINGS)
def test_the_card_has_a_head_and_names_every_file(exported, name):
    *_, folder = exported(name)
    _, head, body = (folder / "README.md").read_text().split("---\n", 2)
    head = yaml.safe_load(head)
    assert head["library_name"] == "diffusers"
    assert {"recsim-gen", name} <= set(head["tags"])
    assert {"license", "license_name"} <= set(head)  # these tiny models name none
    named = set(re.findall(r"^\| `([^`]+)`", body, re.MULTILINE))
    pipeline = {"scheduler", "text_encoder", "tokenizer", "unet", "vae", "feature_extractor", "README.md"}
    base = {"language_model"} if name == "ragar" else set()
    assert {p.name for p in folder.iterdir()} - pipeline - base == named
    assert str(folder.parent) not in body


@pytest.mark.parametrize("name", ["pmg", "ragar_taste", "edit"])
def test_the_pipeline_is_the_familys(exported, name, monkeypatch):
    generator, _, folder = exported(name)
    own = generator.family.diffusion(device="cpu").unet.state_dict()
    read = loaded(folder, monkeypatch)["pipeline"].unet.state_dict()
    assert all(torch.equal(read[key], x) for key, x in own.items())


def test_learned_words_mean_what_they_meant(exported, monkeypatch):
    generator, episode, folder = exported("textual_inversion")
    pipeline = loaded(folder, monkeypatch)["pipeline"]
    users = json.loads((folder / "users.json").read_text())
    word = generator._members[episode.user]
    assert word in users.values()
    if word not in pipeline.tokenizer.get_vocab():
        pipeline.load_textual_inversion("textual_inversion", weight_name=f"{word.strip('<>')}.safetensors")
    text = generator.words(episode).replace("<word>", word)
    states = pipeline.encode_prompt(text, "cpu", 1, False)[0]
    assert torch.equal(states[0], generator.conditions(episode).states)


def test_the_adapter_draws_the_same_picture(exported, monkeypatch):
    """From pictures of the history, by the pipeline's own encoder."""
    generator, episode, folder = exported("ip_adapter")
    pipeline = loaded(folder, monkeypatch)["pipeline"]
    noise, sampler = Rng(0).for_("noise"), generator.ready()
    rows = list(episode.history)[-2:]
    drawn = pipeline(
        generator.words(episode),
        ip_adapter_image=[[generator.catalog.images.read(row) for row in rows]],
        latents=sampler.latents(noise)[None],
        generator=noise.for_("steps").torch(),
        height=sampler.size,
        width=sampler.size,
        num_inference_steps=sampler.steps,
        guidance_scale=sampler.guidance,
        output_type="pt",
    ).images[0]
    own = generator.draw_each([(episode, noise)])[0]
    assert torch.allclose(drawn, own, atol=1e-4)
    other = generator.draw_each([(replace(episode, history=episode.history[:2]), noise)])[0]
    assert not torch.allclose(other, own, atol=1e-4)


def test_the_editor_edits_as_it_did(exported, monkeypatch):
    """In the weights that it was drawn with; half of its input is the picture that it edits."""
    generator, _, folder = exported("instruct_edit")
    read, own = loaded(folder, monkeypatch)["pipeline"].unet, generator.pipeline().unet
    assert read.config.in_channels == 2 * read.config.out_channels
    assert all(torch.equal(read.state_dict()[name], x) for name, x in own.state_dict().items())


def test_lora_of_the_unet_changes_it_as_it_did(exported, monkeypatch):
    generator, _, folder = exported("ragar_dpo")
    read, own = loaded(folder, monkeypatch)["pipeline"].unet, generator._sampler.pipeline.unet
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1, own.config.in_channels, 16, 16, generator=draw)
    states = torch.randn(1, 4, own.config.cross_attention_dim, generator=draw)
    with torch.no_grad():
        one, two = (unet(x, 5, states).sample for unet in (own, read))
        own.disable_adapters()
        without = own(x, 5, states).sample
        own.enable_adapters()
    assert torch.allclose(one, two, atol=1e-5)
    assert not torch.allclose(one, without, atol=1e-5)


def test_peft_reads_the_language_model_of_ragar(exported, monkeypatch):
    generator, _, folder = exported("ragar")
    names = loaded(folder, monkeypatch)
    own, read = generator._action._network.language.model, names["language_model"]
    last = own.get_input_embeddings().weight.shape[0]
    ids = torch.tensor([[3, 9, last - 2, last - 1]])
    with torch.no_grad():
        one, two = (model(input_ids=ids).last_hidden_state for model in (own, read))
    assert torch.allclose(one, two, atol=1e-5)
    assert any(key.startswith("mapper.") for key in names["network"])


def test_transformers_reads_the_language_model_of_lavit(exported, monkeypatch):
    generator, _, folder = exported("lavit")
    names = loaded(folder, monkeypatch)
    own = generator._parts.language
    ids = torch.tensor([[3, 9, own.config.vocab_size - 1]])
    with torch.no_grad():
        one, two = (model(input_ids=ids).logits for model in (own, names["language_model"]))
    assert torch.allclose(one, two, atol=1e-5)
    assert {key.split(".")[0] for key in names["lavit"]} == {"tokenizer", "decoder", "vision"}


def test_other_parts_are_tensors(exported, monkeypatch):
    soft = loaded(exported("pmg")[2], monkeypatch)["soft_preference"]
    weights = exported("pmg")[0].weights()
    assert weights.keys() == soft.keys()
    assert all(torch.equal(soft[name], x) for name, x in weights.items())
    generator, _, folder = exported("ragar_taste")
    names = loaded(folder, monkeypatch)
    assert len(names["keyword_policy"]["offset"]) == len(json.loads((folder / "keywords.json").read_text()))
    agreement = generator._evidence.taste.model.agreement
    assert np.array_equal(names["taste"]["agreement"].numpy(), agreement)


def test_what_learned_nothing_says_so_in_one_line(tiny, tmp_path, capsys):
    shop, family = tiny
    made = resolve("sd", GENERATORS, "generator")(models=family, device="cpu")
    made.fit(shop.catalog, (), rng=Rng(0)).save(tmp_path / "sd")
    argv = [f"--checkpoint={tmp_path / 'sd'}", f"--output={tmp_path / 'out'}", f"--models={family.name}"]
    assert run(export.main, [*FEW, *argv]) == 2
    assert capsys.readouterr().err == "error: sd learned nothing of its own: there is nothing to export\n"
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert run(export.main, [f"--output={tmp_path}"]) == 2
    assert "must be a new folder" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
