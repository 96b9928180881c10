"""LaVIT's published files: every name is taken, none is left, and what comes out is what they mean.

The arithmetic that the answers are held against is written plainly here, from the description in words.
"""

from __future__ import annotations

import numpy as np
import pytest
import tiny_lavit
import torch
import torch.nn.functional as F
from PIL import Image
from tiny_lavit import CODES, HEADS, LAYERS, PATCHES, SIDE, STATES, VISION_LAYERS, WIDTH
from torch import Tensor

from generators.lavit.language import Sampling, Vocabulary, draw_codes, guided
from generators.lavit.published import read_parts, read_pictures, read_vision
from generators.lavit.selector import keep
from recsim_gen.core.errors import DataError, MissingDependency
from recsim_gen.core.randomness import Rng
from recsim_gen.models.checkpoint import Checkpoint
from recsim_gen.models.family import ModelFamily, Models


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_lavit.save(tmp_path_factory.mktemp("lavit") / "files")


@pytest.fixture
def checkpoint(folder):
    return Checkpoint(str(folder), "lavit", "paper", "LaVIT Community License")


def normed(x: Tensor, weights: dict[str, Tensor], name: str, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps)


def linear(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def feed_forward(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    return linear(F.gelu(linear(x, weights, f"{name}.fc1")), weights, f"{name}.fc2")


def heads(x: Tensor) -> list[Tensor]:
    return list(x.split(WIDTH // HEADS, dim=-1))


def attention(q: Tensor, k: Tensor, v: Tensor, rule) -> Tensor:
    """One head after the other; ``rule`` makes weights (N, M) of scores."""
    parts = [
        rule(a @ b.T / (WIDTH // HEADS) ** 0.5) @ c
        for a, b, c in zip(heads(q), heads(k), heads(v), strict=True)
    ]
    return torch.cat(parts, dim=-1)


def ordinary(scores: Tensor) -> Tensor:
    return scores.softmax(-1)


def only(allowed: Tensor):
    """Softmax over what is allowed, (e + 1e-6/M) / (Σ e + 1e-6), with the largest of all scores taken off."""

    def rule(scores: Tensor) -> Tensor:
        e = (scores - scores.max(1, keepdim=True).values).exp() * allowed
        return (e + 1e-6 / scores.shape[1]) / (e.sum(1, keepdim=True) + 1e-6)

    return rule


def dense_vision(pixels: Tensor) -> Tensor:
    """(patches, width) of one picture (3, side, side): EVA-CLIP before its last norm, no class token."""
    w = tiny_lavit.eva()
    patches = F.conv2d(pixels[None], w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=14)
    x = torch.cat([w["cls_token"][0], patches[0].flatten(1).T]) + w["pos_embed"][0]
    for i in range(VISION_LAYERS):
        at = f"blocks.{i}"
        qkv = normed(x, w, f"{at}.norm1", 1e-6) @ w[f"{at}.attn.qkv.weight"].T
        q, k, v = qkv.split(WIDTH, dim=-1)
        mixed = attention(q + w[f"{at}.attn.q_bias"], k, v + w[f"{at}.attn.v_bias"], ordinary)
        x = x + linear(mixed, w, f"{at}.attn.proj")
        x = x + feed_forward(normed(x, w, f"{at}.norm2", 1e-6), w, f"{at}.mlp")
    return x[1:]


def dense_scores(features: Tensor) -> Tensor:
    """(patches, 2) log-probabilities to be kept and dropped, of one picture's features."""
    w = tiny_lavit.encoder()
    x = normed(features, w, "token_predictor.in_conv.0", 1e-5)
    x = F.gelu(linear(x, w, "token_predictor.in_conv.1"))
    half = WIDTH // 2
    x = torch.cat([x[:, :half], x[:, half:].mean(0).expand(len(x), -1)], dim=1)
    for layer in (0, 2):
        x = F.gelu(linear(x, w, f"token_predictor.out_conv.{layer}"))
    return linear(x, w, "token_predictor.out_conv.4").log_softmax(1)


def dense_merged(features: Tensor, kept: Tensor) -> Tensor:
    """(patches, width) after the merger, for one picture; ``kept`` (patches,) bool."""
    w = tiny_lavit.encoder()
    x, origin = features, normed(features, w, "causal_encoder.ln_vision", 1e-5)
    n = len(features)
    before = torch.tensor([[float(j <= i and (bool(kept[j]) or j == i)) for j in range(n)] for i in range(n)])
    dropped = (~kept).float().expand(n, n)
    for i in range(LAYERS):
        at = f"causal_encoder.blocks.{i}"
        qkv = linear(normed(x, w, f"{at}.norm0", 1e-5), w, f"{at}.token_causal_attn.qkv").split(WIDTH, -1)
        x = x + linear(attention(*qkv, only(before)), w, f"{at}.token_causal_attn.proj")
        query = linear(normed(x, w, f"{at}.norm1", 1e-5), w, f"{at}.token_cross_attn.query")
        key, value = (linear(origin, w, f"{at}.token_cross_attn.{p}") for p in ("key", "value"))
        x = x + linear(attention(query, key, value, only(dropped)), w, f"{at}.token_cross_attn.proj")
        x = x + feed_forward(normed(x, w, f"{at}.norm2", 1e-5), w, f"{at}.mlp")
    return normed(x, w, "causal_encoder.norm", 1e-5)


def dense_codes(merged: Tensor) -> Tensor:
    """(m,) the nearest code of each merged token (m, width)."""
    w = tiny_lavit.encoder()
    z = linear(torch.tanh(linear(merged, w, "encode_task_layer.0")), w, "encode_task_layer.2")
    z = z / z.norm(dim=1, keepdim=True)
    return torch.tensor([int((w["quantize.embedding.weight"] - row).norm(dim=1).argmin()) for row in z])


def dense_states(codes: Tensor) -> Tensor:
    """(patches, states) what the UNet is told of a picture's codes (m,)."""
    w, table = tiny_lavit.decoder(), tiny_lavit.encoder()["quantize.embedding.weight"]
    tokens = linear(table[codes], w, "in_proj") + w["pos_embed"][0, : len(codes)]
    x = w["query_embed"][0]
    for i in range(LAYERS):
        at = f"blocks.{i}"
        qkv = linear(normed(x, w, f"{at}.norm0", 1e-5), w, f"{at}.self_attn.qkv").split(WIDTH, -1)
        x = x + linear(attention(*qkv, ordinary), w, f"{at}.self_attn.proj")
        query = linear(normed(x, w, f"{at}.norm1", 1e-5), w, f"{at}.cross_attn.query")
        key, value = (linear(tokens, w, f"{at}.cross_attn.{p}") for p in ("key", "value"))
        x = x + linear(attention(query, key, value, ordinary), w, f"{at}.cross_attn.proj")
        x = x + feed_forward(normed(x, w, f"{at}.norm2", 1e-5), w, f"{at}.mlp")
    x = normed(x, w, "norm", 1e-5)
    x = linear(torch.tanh(linear(x, w, "decode_task_layer.0")), w, "decode_task_layer.2")
    return linear(x, w, "unet_proj")


def pictures(count: int) -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(256, size=(20, 30, 3), dtype=np.uint8)) for _ in range(count)]


def test_the_vision_transformer_is_evas(folder, checkpoint):
    """Through Blip2VisionModel, from a picture squeezed into a square and scaled as CLIP's."""
    vision = read_vision(folder / "visual_tokenizer" / "eva_vitg_psz14.bin", checkpoint)
    assert vision.patches == PATCHES
    features = vision.features(pictures(3))
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    sd = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    for got, picture in zip(features, pictures(3), strict=True):
        square = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float32) / 255
        expected = dense_vision((torch.from_numpy(square).permute(2, 0, 1) - mean) / sd)
        assert (got - expected).abs().max() < 1e-5 * expected.abs().max().clamp_min(1)


def test_tokens_are_those_of_the_dense_arithmetic(folder, checkpoint):
    """Selector, merger and nearest code; several pictures, which keep different numbers of patches."""
    tokenizer, _ = read_pictures(folder / "visual_tokenizer", checkpoint)
    features = torch.randn(6, PATCHES, WIDTH, generator=torch.Generator().manual_seed(5))
    scores = tokenizer.token_predictor(features)
    for got, each in zip(scores, features, strict=True):
        assert torch.allclose(got, dense_scores(each), atol=1e-5)
    kept = keep(scores, Rng(0).torch())
    assert len(set(kept.sum(1).tolist())) > 1
    merged = tokenizer.causal_encoder(features, kept)
    tokens = tokenizer(features, Rng(0).torch())
    for k, each in enumerate(features):
        expected = dense_merged(each, kept[k].bool())
        assert torch.allclose(merged[k], expected, atol=1e-5)
        codes = dense_codes(expected[kept[k].bool()])
        assert tokens.numbers[k][tokens.present[k]].tolist() == codes.tolist()


def test_decoded_states_are_those_of_the_dense_arithmetic(folder, checkpoint):
    """Also where a picture of few tokens stands beside one of many."""
    tokenizer, decoder = read_pictures(folder / "visual_tokenizer", checkpoint)
    codes = torch.tensor([[3, 7, 1, 0], [5, 5, 0, 0]])
    present = torch.tensor([[True, True, True, True], [True, True, False, False]])
    states = decoder(tokenizer.quantize.embedding(codes), present)
    assert states.shape == (2, PATCHES, STATES)
    assert torch.allclose(states[0], dense_states(codes[0]), atol=1e-5)
    assert torch.allclose(states[1], dense_states(codes[1, :2]), atol=1e-5)


@pytest.mark.parametrize("name", ["eva_vitg_psz14", "tokenizer_encoder", "tokenizer_decoder"])
def test_every_name_is_asked_for_and_no_other_is_taken(name, folder, checkpoint, tmp_path):
    """Each weight in turn is left out, and one too many is put in: the error names it."""
    weights = torch.load(folder / "visual_tokenizer" / f"{name}.bin", weights_only=True)
    for file in (folder / "visual_tokenizer").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())

    def load(changed: dict[str, Tensor]) -> None:
        torch.save(changed, tmp_path / f"{name}.bin")
        if name == "eva_vitg_psz14":
            read_vision(tmp_path / f"{name}.bin", checkpoint)
        else:
            read_pictures(tmp_path, checkpoint)

    load(weights)
    for left_out in [n for n in weights if not n.startswith("head.")]:
        with pytest.raises(DataError) as told:
            load({n: x for n, x in weights.items() if n != left_out})
        assert left_out in str(told.value)
    with pytest.raises(DataError, match=r"unknown weights \(1\): blocks.0.extra.weight"):
        load(weights | {"blocks.0.extra.weight": torch.zeros(2)})
    turned = next(n for n, x in weights.items() if x.dim() == 1 and n.endswith("bias"))
    with pytest.raises(DataError, match=r"weights '.*' must be \(\d+,\), got \(3,\)"):
        load(weights | {turned: torch.zeros(3)})


def test_a_file_that_is_not_there_or_broken_is_told(folder, checkpoint, tmp_path):
    with pytest.raises(MissingDependency, match=r"(?s)LaVIT Community License.*eva_vitg_psz14.bin") as told:
        read_vision(tmp_path / "eva_vitg_psz14.bin", checkpoint)
    assert "\n" not in str(told.value)
    whole = (folder / "visual_tokenizer" / "tokenizer_decoder.bin").read_bytes()
    for file in (folder / "visual_tokenizer").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "tokenizer_decoder.bin").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="broken file"):
        read_pictures(tmp_path, checkpoint)


class Evil:
    def __reduce__(self):
        import os

        return os.system, ("true",)


def test_a_file_that_would_run_something_is_not_read(folder, checkpoint, tmp_path):
    for file in (folder / "visual_tokenizer").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({"pos_embed": Evil()}, tmp_path / "tokenizer_decoder.bin")
    with pytest.raises(DataError, match="broken file"):
        read_pictures(tmp_path, checkpoint)


def family(folder) -> ModelFamily:
    return ModelFamily("paper", Models(lavit=str(folder)), steps=2, image_size=32, guidance=3.0)


def test_all_parts_fit_together(folder):
    parts = read_parts(family(folder), "cpu")
    assert parts.vocabulary == Vocabulary(len(parts.words), CODES)
    assert len(parts.vocabulary) == parts.language.config.vocab_size
    states = parts.states([1, 2, 3])
    assert torch.allclose(states, dense_states(torch.tensor([1, 2, 3])), atol=1e-5)


def test_pixels_are_guided_away_from_the_saved_states(folder):
    """Two rows a step, ε = u + g (c − u), by DDIM, written out."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    parts = read_parts(family(folder), "cpu")
    states = parts.states([4, 4, 0])[None]
    got = parts.sampler.draw(states, [Rng(7)])
    pixels = folder / "pixel_decoding"
    unet = UNet2DConditionModel.from_pretrained(pixels / "unet", use_safetensors=False)
    vae = AutoencoderKL.from_pretrained(pixels / "vae", use_safetensors=False)
    scheduler = DDIMScheduler.from_pretrained(pixels / "scheduler")
    empty = torch.load(pixels / "uncond_embeddings.bin", weights_only=True)
    # As published: the saved states in the first slots of as many as the picture has, the rest masked.
    padded = torch.zeros_like(states)[:, :0].new_zeros(1, max(PATCHES, empty.shape[1]), STATES)
    mask = torch.zeros(2, padded.shape[1], dtype=torch.bool)
    padded[:, : empty.shape[1]], mask[0, : empty.shape[1]] = empty, True
    told = F.pad(states, (0, 0, 0, padded.shape[1] - PATCHES))
    mask[1, :PATCHES] = True
    scheduler.set_timesteps(2)
    with torch.no_grad():
        x = torch.randn(1, 4, 16, 16, generator=Rng(7).for_("latents").torch())
        for t in scheduler.timesteps:
            both = unet(torch.cat([x, x]), t, torch.cat([padded, told]), encoder_attention_mask=mask).sample
            free, given = both.chunk(2)
            x = scheduler.step(free + 3 * (given - free), t, x).prev_sample
        expected = (vae.decode(x / vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)
    assert torch.allclose(got, expected, atol=1e-5)


def test_guidance_is_of_two_rows_in_log_probabilities(folder):
    """With a cache and two rows side by side, as with each row alone and anew for every token."""
    parts = read_parts(family(folder), "cpu")
    vocabulary, document = parts.vocabulary, parts.vocabulary.document([[1, 5], [0]], parts.text("a red mug"))
    how = Sampling(guidance=4.0, top_k=1, temperature=1.0, least=4, most=4)
    codes = draw_codes(parts.language, vocabulary, document, how, Rng(0).torch())
    expected: list[int] = []
    for _ in range(4):
        said = vocabulary.picture(expected)[1:-1]
        rows = [torch.tensor([[*before, *said]]) for before in (document, [vocabulary.begin])]
        with torch.no_grad():
            given, free = (parts.language(input_ids=row).logits[0, -1].log_softmax(0) for row in rows)
        mixed = free + 4 * (given - free)
        assert torch.allclose(mixed, guided(torch.stack([given, free]), 4.0), atol=1e-5)
        expected.append(int(mixed[vocabulary.end + 1 :].argmax()))
    assert codes == expected


def test_codes_are_as_many_as_asked_and_no_words(folder):
    parts = read_parts(family(folder), "cpu")
    document = parts.vocabulary.document([], parts.text("mug"))
    for seed in range(5):
        how = Sampling(guidance=2.0, top_k=50, temperature=1.0, least=2, most=4)
        codes = draw_codes(parts.language, parts.vocabulary, document, how, Rng(seed).torch())
        assert 2 <= len(codes) <= 4
        assert all(0 <= code < CODES for code in codes)


def test_a_vocabulary_without_room_for_the_codes_is_told(folder, tmp_path):
    import shutil

    from recsim_gen.testing import tiny_models

    shutil.copytree(folder, tmp_path / "files")
    shutil.rmtree(tmp_path / "files" / "language_model")
    tiny_models.save_llama(tmp_path / "files" / "language_model")
    with pytest.raises(DataError, match=r"a vocabulary of \d+ words, 2 signs and 20 codes is wanted"):
        read_parts(family(tmp_path / "files"), "cpu")
