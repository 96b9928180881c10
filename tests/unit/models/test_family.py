"""Families of models: what names them, that every loader reads them offline, what is said when they lack."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from recsim_gen.core.errors import DataError, MissingDependency, SettingError
from recsim_gen.datasets.opening import open_data
from recsim_gen.models.family import FAMILIES, open_family
from recsim_gen.testing import tiny_models

pytestmark = pytest.mark.filterwarnings("ignore:.*float16")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Tiny models by kind, and a family in a folder."""
    root = tmp_path_factory.mktemp("models")
    tiny_models.save_family(root / "family")
    tiny_models.save_blip2(root / "blip2")
    tiny_models.save_qwen(root / "qwen")
    return root


@pytest.fixture(autouse=True)
def no_network(tmp_path, monkeypatch):
    """The hub's cache is empty, the hub is not to be asked, and no name is looked up."""

    def refuse(*args, **kwargs):
        raise AssertionError(f"the network was used: {args}")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path / "hub"


def into_hub_cache(hub: Path, name: str, folder: Path) -> None:
    """As the hub's client leaves a repository that it fetched."""
    place = hub / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / "c0ffee")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("c0ffee")


@pytest.fixture
def paper(shelf, no_network):
    """``--models paper`` where the hub's cache holds tiny models under the names of the real ones."""
    family = open_family("paper")
    for role, folder in {
        "captioner": shelf / "blip2",
        "text_encoder": shelf / "family" / "clip",
        "language_model": shelf / "family" / "llm",
        "diffusion": shelf / "family" / "diffusion",
    }.items():
        into_hub_cache(no_network, getattr(family.models, role), folder)
    return family


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 30 + seed, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def draw(family, prompt="a red shirt"):
    pipeline = family.diffusion(torch_dtype=torch.float32)
    noise = torch.Generator().manual_seed(0)
    return pipeline(prompt, num_inference_steps=2, generator=noise, output_type="np").images


def test_every_loader_of_the_paper_runs_offline(paper):
    paper.require("captioner", "text_encoder", "image_encoder", "language_model", "diffusion")
    (caption,) = paper.captioner(torch_dtype=torch.float32).caption([picture(0)], "What is it?")
    assert isinstance(caption, str)
    assert paper.text_encoder().encode_texts(["a shirt", "an armchair"]).shape == (2, 24)
    assert paper.image_encoder().encode_images([picture(0)]).shape == (1, 24)
    model, tokenizer = paper.language_model()
    assert model.dtype == torch.float16  # the family's
    tokens = tokenizer(["a", "a longer one"], return_tensors="pt", padding=True)
    assert tokens["attention_mask"][0].tolist() == [0] * 11 + [1]  # padded on the left
    assert model.float().generate(**tokens, max_new_tokens=3, do_sample=False).shape[0] == 2
    assert draw(paper).shape == (1, 32, 32, 3)


def test_a_model_let_go_of_is_gone_and_comes_back_when_asked_for(paper):
    language = weakref.ref(paper.language_model()[0])
    diffusion = paper.diffusion()
    paper.release("language_model")
    gc.collect()
    assert language() is None
    assert paper.diffusion() is diffusion
    assert paper.language_model()[0] is paper.language_model()[0]


@pytest.mark.parametrize(
    ("role", "load", "name", "licence"),
    [
        ("captioner", "captioner", "Salesforce/blip2-opt-2.7b", "MIT"),
        ("text_encoder", "text_encoder", "openai/clip-vit-large-patch14", "MIT"),
        ("language_model", "language_model", "meta-llama/Llama-2-7b-chat-hf", "Llama 2 Community License"),
        ("diffusion", "diffusion", "stable-diffusion-v1-5/stable-diffusion-v1-5", "CreativeML Open RAIL-M"),
    ],
)
def test_with_nothing_there_it_says_what_is_missing_its_licence_and_where_it_goes(
    role, load, name, licence, no_network
):
    with pytest.raises(MissingDependency) as caught:
        getattr(open_family("paper"), load)()
    message = str(caught.value)
    assert message.startswith(f"paper models: {role} {name} (licence: {licence}) is missing. ")
    assert f"It goes into the hub's cache, {no_network}: run `hf download {name}`" in message
    assert f"`{role}: ./FOLDER` under `models:` in --models FILE.yaml" in message
    assert ("--captioner FOLDER" in message) == (role == "captioner")


def test_the_message_is_the_same_when_the_hub_cannot_be_reached(tmp_path):
    """In a process of its own: the hub's client reads its settings when it is imported."""
    code = (
        "from recsim_gen.core.errors import MissingDependency\n"
        "from recsim_gen.models.family import open_family\n"
        "try:\n    open_family('paper').require('language_model')\n"
        "except MissingDependency as error:\n    print(error)\n"
    )
    nowhere = {
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_HUB_OFFLINE": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
        timeout=100,
    )
    with pytest.raises(MissingDependency) as offline:
        open_family("paper").require("language_model")
    said, expected = (text.rpartition(" (")[0] for text in (done.stdout, str(offline.value)))
    assert said == expected
    assert said.startswith("paper models: language_model meta-llama/Llama-2-7b-chat-hf")


def test_a_folder_is_a_family_by_itself(shelf):
    family = open_family(shelf / "family")
    assert draw(family).shape == (1, 32, 32, 3)
    assert family.models.verifier == ""
    assert family.text_encoder() is family.image_encoder()  # one CLIP
    assert family.diffusion() is family.diffusion()
    assert open_family(shelf / "family").diffusion() is not family.diffusion()
    with pytest.raises(SettingError, match="no verifier is named"):
        family.folder("verifier")


def test_a_verifier_is_loaded_with_its_weights(tmp_path):
    from recsim_gen.models.attribute_reader import ImageVerifier

    torch.manual_seed(0)
    saved = ImageVerifier().eval()
    saved.save_pretrained(tmp_path / "verifier")
    pixels = torch.rand(3, 3, 64, 64)
    loaded = open_family(tmp_path).verifier()
    np.testing.assert_allclose(loaded.read(pixels).probability, saved.read(pixels).probability, atol=1e-3)


def test_scheduler_settings_come_with_the_weights(shelf):
    pipeline = open_family(shelf / "family").diffusion()
    got = {k: pipeline.scheduler.config[k] for k in ("timestep_spacing", "clip_sample", "prediction_type")}
    assert got == {"timestep_spacing": "trailing", "clip_sample": False, "prediction_type": "v_prediction"}
    pipeline.scheduler.set_timesteps(4)
    assert pipeline.scheduler.timesteps.tolist() == [999, 749, 499, 249]


def test_prompts_may_be_longer_than_77_tokens(shelf):
    pipeline = open_family(shelf / "family").diffusion()
    long = torch.randn(1, 100, 16, generator=torch.Generator().manual_seed(0))
    images = [
        pipeline(
            prompt_embeds=embeds,
            negative_prompt_embeds=torch.zeros_like(embeds),
            num_inference_steps=2,
            generator=torch.Generator().manual_seed(0),
            output_type="np",
        ).images
        for embeds in (long, long.flip(1) * 2)
    ]
    assert np.abs(images[0] - images[1]).max() > 1e-4  # every token counts


def test_a_file_names_folders_beside_it_and_hub_names(shelf, tmp_path, monkeypatch):
    shutil.copytree(shelf / "family", tmp_path / "mine")
    file = tmp_path / "mine.yaml"
    models = {"diffusion": "./mine/diffusion", "language_model": "org/other"}
    file.write_text(yaml.safe_dump({"models": models, "steps": 7, "licences": {"org/other": "Apache-2.0"}}))
    (tmp_path / "org" / "other").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)  # a folder of a hub name's shape is not taken for it
    family = open_family(file)
    assert family.steps == 7
    assert family.folder("diffusion") == tmp_path / "mine" / "diffusion"
    with pytest.raises(MissingDependency, match=r"org/other \(licence: Apache-2.0\) is missing"):
        family.language_model()


def test_a_family_in_a_folder_may_have_a_file(shelf, tmp_path):
    shutil.copytree(shelf / "family", tmp_path / "f")
    (tmp_path / "f" / "family.yaml").write_text("models: {diffusion: ./diffusion}\nguidance: 3\n")
    family = open_family(tmp_path / "f")
    assert (family.guidance, family.models.diffusion) == (3, str(tmp_path / "f" / "diffusion"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: {difusion: x/y}", "unknown setting 'difusion' of Models. Did you mean 'diffusion'?"),
        ("models: {}\nstep: 3", "unknown setting 'step' of ModelFamily. Did you mean 'steps'?"),
        ("models: {}\nsteps: many", "setting 'steps' of ModelFamily must be int, got 'many'"),
        ("models: {}\nsteps: 0", "steps must be 1 or more, got 0"),
        ("models: {}\ndtype: float15", "must be one of float32, float16, bfloat16, got 'float15'"),
        ("models: {diffusion: 3}", "setting 'diffusion' of Models must be str, got 3"),
        ("models: [a]", "a mapping is wanted under `models:`, got ['a']"),
        ("steps: 3", "a mapping is wanted under `models:`, got None"),
        ("3", "a mapping that begins with `models:` is wanted, got 3"),
        ("models: {", "cannot be read as YAML"),
        ("!!python/object/apply:os.system ['touch hacked']", "cannot be read as YAML"),
    ],
)
def test_a_wrong_file_is_told(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.yaml").write_text(text)
    with pytest.raises(SettingError) as caught:
        open_family("f.yaml")
    assert message in str(caught.value)
    assert "f.yaml" in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["f.yaml"]


def test_a_name_that_is_none_is_told(tmp_path):
    with pytest.raises(SettingError, match=r"'embeded': wanted a name.*Did you mean 'embedded'\?"):
        open_family("embeded")
    with pytest.raises(SettingError, match="any of the folders clip, llm, diffusion, glide, verifier, got"):
        open_family(tmp_path)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_named_model_of_a_shipped_file_has_a_licence(name):
    family = open_family(name)
    named = [m for m in vars(family.models).values() if m and m != "given"]
    assert len(named) >= 5
    assert all(m in family.licences for m in named)


def test_pickles_are_not_read(shelf, tmp_path):
    """Weights as a pickle that would run code: refused, not run."""
    shutil.copytree(shelf / "family", tmp_path / "f")
    for folder, file in (("llm", "pytorch_model.bin"), ("clip", "pytorch_model.bin")):
        (tmp_path / "f" / folder / "model.safetensors").unlink()
        (tmp_path / "f" / folder / file).write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    unet = tmp_path / "f" / "diffusion" / "unet"
    (unet / "diffusion_pytorch_model.safetensors").rename(unet / "diffusion_pytorch_model.bin")
    family = open_family(tmp_path / "f")
    for load in (family.language_model, family.text_encoder, family.diffusion):
        with pytest.raises(MissingDependency, match="is missing"):
            load()


@pytest.mark.parametrize(
    ("role", "file", "model"),
    [
        ("language_model", "llm/model.safetensors", "LlamaForCausalLM"),
        ("diffusion", "diffusion/unet/diffusion_pytorch_model.safetensors", "UNet2DConditionModel"),
        ("diffusion", "diffusion/vae/diffusion_pytorch_model.safetensors", "AutoencoderKL"),
        ("diffusion", "diffusion/text_encoder/model.safetensors", "CLIPTextModel"),
    ],
)
def test_weights_that_lack_are_never_filled_with_noise(role, file, model, shelf, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(shelf / "family", tmp_path / "f")
    weights = load_file(tmp_path / "f" / file)
    del weights[sorted(weights)[-1]]
    save_file(weights, tmp_path / "f" / file, metadata={"format": "pt"})
    with pytest.raises(DataError, match=f"all weights of {model} are wanted, got none for 1"):
        getattr(open_family(tmp_path / "f"), role)()


def test_the_fingerprint_follows_content_not_place(shelf, tmp_path):
    shutil.copytree(shelf / "family", tmp_path / "copy")
    first = open_family(shelf / "family").fingerprint("diffusion", "language_model")
    family = open_family(tmp_path / "copy")
    assert family.fingerprint("diffusion", "language_model") == first
    file = tmp_path / "copy" / "llm" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert family.fingerprint("diffusion", "language_model") != first
    assert family.fingerprint("diffusion") == open_family(shelf / "family").fingerprint("diffusion")


@pytest.mark.parametrize("kind", ["blip2", "qwen"])
def test_a_captioner_looks_at_the_picture_and_hears_the_question(kind, shelf):
    captioner = (
        open_family("paper").with_models(captioner=str(shelf / kind)).captioner(torch_dtype=torch.float32)
    )
    images = [picture(i) for i in range(4)]
    lines = captioner.caption(images, "What is it?")
    assert len(set(lines)) > 1
    assert captioner.caption(images, "Which mood?") != lines
    assert captioner.caption(images[::-1], "What is it?") == lines[::-1]
    assert [captioner.caption([image], "What is it?")[0] for image in images] == lines
    assert max(map(len, captioner.caption(images, "What is it?", max_tokens=2))) <= 2  # a byte a token
    assert all(line == " ".join(line.split()) for line in lines)


def test_boutique_gives_its_captions(tmp_path):
    catalog = open_data("boutique", n_items=100, n_users=20).catalog
    captioner = open_family().captioner()
    assert captioner.caption_items(catalog, [3, 1], "?") == catalog.captions[[3, 1]].tolist()
    with pytest.raises(SettingError, match="cannot look at pictures"):
        captioner.caption([picture(0)], "?")
