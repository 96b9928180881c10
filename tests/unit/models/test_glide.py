"""GLIDE against its published architecture, written plainly and in the published naming."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tokenizers.pre_tokenizers import ByteLevel

from recsim_gen.core.errors import DataError, MissingDependency, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.models.family import open_family
from recsim_gen.models.glide.config import FAST27, UPSAMPLER, GlideConfig, NetConfig, spaced
from recsim_gen.models.glide.network import GlideNet
from recsim_gen.models.glide.pipeline import Glide, tokenized
from recsim_gen.models.glide.published import published_places, read_published
from recsim_gen.models.glide.sampling import guided, quantised

MERGES = ["r e", "re d", "s h", "i r", "sh ir", "shir t", "Ġ shirt"]  # of bytes to words; Ġ: a space before
TEXT = {"text_length": 7, "text_width": 32, "text_layers": 2, "text_heads": 4}
TEXT |= {"vocabulary": 256 + len(MERGES), "head_channels": 16, "blocks": 1}
BASE = NetConfig(image_size=8, channels=(32, 64, 96), attended=2, timesteps=spaced(5), **TEXT)
BIG = replace(BASE, image_size=32, in_channels=6, channels=(32, 32, 64), attended=1, blocks=2)
CONFIG = GlideConfig(BASE, replace(BIG, noise="linear", timesteps=FAST27))


class Published:
    """One published net: each weight is drawn at random when it is first asked for, under its own name."""

    def __init__(self, config: NetConfig, seed: int) -> None:
        self.config, self.state = config, {}
        self._random = torch.Generator().manual_seed(seed)

    def weight(self, name, *shape):
        if name not in self.state:
            scale = math.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.1
            of_norm = len(shape) == 1 and name.endswith("weight")
            self.state[name] = of_norm + scale * torch.randn(shape, generator=self._random)
        return self.state[name]

    def linear(self, x, name, width):
        return x @ self.weight(f"{name}.weight", width, x.shape[-1]).T + self.weight(f"{name}.bias", width)

    def conv(self, x, name, width, side):
        kernel = self.weight(f"{name}.weight", width, x.shape[1], side, side)
        return F.conv2d(x, kernel, self.weight(f"{name}.bias", width), padding=side // 2)

    def conv1(self, x, name, width):
        """Over places (B, C, T), of width 1."""
        kernel = self.weight(f"{name}.weight", width, x.shape[1], 1)[..., 0]
        return kernel @ x + self.weight(f"{name}.bias", width)[:, None]

    def scaled(self, x, name, dim):
        """Weight and bias of a norm, along ``dim``."""
        shape = [-1 if d == dim else 1 for d in range(x.ndim)]
        weight, bias = (self.weight(f"{name}.{kind}", x.shape[dim]) for kind in ("weight", "bias"))
        return x * weight.view(shape) + bias.view(shape)

    def group_norm(self, x, name):
        parts = x.reshape(len(x), 32, -1)
        mean, variance = parts.mean(-1, keepdim=True), parts.var(-1, unbiased=False, keepdim=True)
        return self.scaled(((parts - mean) / (variance + 1e-5).sqrt()).view(x.shape), name, 1)

    def layer_norm(self, x, name):
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
        return self.scaled((x - mean) / (variance + 1e-5).sqrt(), name, 2)

    def text(self, tokens, mask):
        """(B, T, d): not causal; padding has an embedding of its own."""
        c = self.config
        x = self.weight("token_embedding.weight", c.vocabulary, c.text_width)[tokens]
        x = x + self.weight("positional_embedding", c.text_length, c.text_width)
        x = torch.where(mask[..., None], x, self.weight("padding_embedding", c.text_length, c.text_width))
        for layer in range(c.text_layers):
            name = f"transformer.resblocks.{layer}"
            qkv = self.linear(self.layer_norm(x, f"{name}.ln_1"), f"{name}.attn.c_qkv", 3 * c.text_width)
            q, k, v = qkv.view(*qkv.shape[:2], c.text_heads, -1).chunk(3, dim=-1)  # (B, T, heads, d)
            near = torch.einsum("bthd,bshd->bhts", q, k) / q.shape[-1] ** 0.5
            read = torch.einsum("bhts,bshd->bthd", near.softmax(-1), v).flatten(2)
            x = x + self.linear(read, f"{name}.attn.c_proj", c.text_width)
            hidden = self.linear(self.layer_norm(x, f"{name}.ln_2"), f"{name}.mlp.c_fc", 4 * c.text_width)
            gelu = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
            x = x + self.linear(gelu, f"{name}.mlp.c_proj", c.text_width)
        return self.layer_norm(x, "final_ln")

    def residual(self, x, time, name, width, change=lambda x: x):
        hidden = self.conv(
            change(F.silu(self.group_norm(x, f"{name}.in_layers.0"))), f"{name}.in_layers.2", width, 3
        )
        scale, shift = self.linear(F.silu(time), f"{name}.emb_layers.1", 2 * width)[..., None, None].chunk(
            2, 1
        )
        hidden = self.group_norm(hidden, f"{name}.out_layers.0") * (1 + scale) + shift
        hidden = self.conv(F.silu(hidden), f"{name}.out_layers.3", width, 3)
        x = change(x)
        return hidden + (x if x.shape[1] == width else self.conv(x, f"{name}.skip_connection", width, 1))

    def attention(self, x, states, name):
        width, ch = x.shape[1], self.config.head_channels
        qkv = self.conv1(self.group_norm(x, f"{name}.norm").flatten(2), f"{name}.qkv", 3 * width)
        told = self.conv1(states.transpose(1, 2), f"{name}.encoder_kv", 2 * width)
        q, k, v = qkv.view(len(x) * width // ch, 3 * ch, -1).chunk(3, dim=1)  # (B·heads, ch, T)
        told_k, told_v = told.view(len(x) * width // ch, 2 * ch, -1).chunk(2, dim=1)
        k, v = torch.cat([told_k, k], -1), torch.cat([told_v, v], -1)
        read = v @ (q.transpose(1, 2) @ k / ch**0.5).softmax(-1).transpose(1, 2)
        return x + self.conv1(read.reshape(len(x), width, -1), f"{name}.proj_out", width).view(x.shape)

    def __call__(self, x, t, tokens, mask, low=None):
        c, states = self.config, self.text(tokens, mask)
        first = c.channels[0]
        angles = t[:, None].float() * torch.exp(-math.log(10_000) * torch.arange(first // 2) / (first // 2))
        time = self.linear(torch.cat([angles.cos(), angles.sin()], -1), "time_embed.0", 4 * first)
        time = self.linear(F.silu(time), "time_embed.2", 4 * first)
        time = time + self.linear(states[:, -1], "transformer_proj", 4 * first)
        if low is not None:
            x = torch.cat([x, F.interpolate(low, x.shape[2:], mode="bilinear", align_corners=False)], 1)
        attended = [level >= len(c.channels) - c.attended for level in range(len(c.channels))]
        kept = [x := self.conv(x, "input_blocks.0.0", first, 3)]
        for level, width in enumerate(c.channels):
            for _ in range(c.blocks):
                name = f"input_blocks.{len(kept)}"
                x = self.residual(x, time, f"{name}.0", width)
                kept.append(x := self.attention(x, states, f"{name}.1") if attended[level] else x)
            if level < len(c.channels) - 1:
                name = f"input_blocks.{len(kept)}.0"
                kept.append(x := self.residual(x, time, name, width, lambda x: F.avg_pool2d(x, 2)))
        x = self.residual(x, time, "middle_block.0", c.channels[-1])
        x = self.residual(self.attention(x, states, "middle_block.1"), time, "middle_block.2", c.channels[-1])
        place = 0
        for level, width in reversed([*enumerate(c.channels)]):
            for block in range(c.blocks + 1):
                name = f"output_blocks.{place}"
                x = self.residual(torch.cat([x, kept.pop()], 1), time, f"{name}.0", width)
                x = self.attention(x, states, f"{name}.1") if attended[level] else x
                if level and block == c.blocks:
                    name = f"{name}.{2 if attended[level] else 1}"
                    x = self.residual(
                        x, time, name, width, lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)
                    )
                place += 1
        return self.conv(F.silu(self.group_norm(x, "out.0")), "out.2", c.out_channels, 3)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Both nets, and a folder of them as it is published."""
    folder = tmp_path_factory.mktemp("glide")
    nets = {"base.pt": Published(BASE, 0), "upsample.pt": Published(CONFIG.upsampler, 1)}
    for file, net in nets.items():
        net(*inputs(net.config))  # asks for all weights
        torch.save(net.state, folder / file)
    words = [*sorted(ByteLevel.alphabet()), *(pair.replace(" ", "") for pair in MERGES)]
    (folder / "vocab.json").write_text(json.dumps({word: code for code, word in enumerate(words)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]))
    CONFIG.write(folder)
    return folder, nets


def inputs(config, seed=0, rows=3):
    """Noisy pictures, timesteps, tokens, which are text, and the small picture of an upsampler."""
    random = torch.Generator().manual_seed(seed)
    noisy = torch.randn(rows, 3, config.image_size, config.image_size, generator=random)
    tokens = torch.randint(config.vocabulary, (rows, config.text_length), generator=random)
    length = torch.tensor([0, 3, config.text_length])[:, None]
    made = [noisy, torch.tensor([0, 37, 990]), tokens, torch.arange(config.text_length)[None] < length]
    if config.in_channels == 6:
        made.append(
            torch.randn(rows, 3, config.image_size // 4, config.image_size // 4, generator=random).clamp(
                -1, 1
            )
        )
    return made


def read(file, config):
    net = GlideNet(config)
    net.load_state_dict(read_published(file, net))
    return net.eval()


@torch.no_grad()
@pytest.mark.parametrize("file", ["base.pt", "upsample.pt"])
def test_published_weights_give_the_published_networks_output(published, file):
    """Text states, then noise and variance, to 1e-5; no key is left over and none is lacking."""
    folder, nets = published
    theirs = nets[file]
    noisy, t, tokens, is_text, *low = inputs(theirs.config, seed=5)
    net = read(folder / file, theirs.config)
    assert published_places(net).keys() == theirs.state.keys()
    states = net.text(tokens, is_text)
    torch.testing.assert_close(states, theirs.text(tokens, is_text), atol=1e-5, rtol=0)
    enlarged = [F.interpolate(x, noisy.shape[2:], mode="bilinear") for x in low]
    ours, wanted = net(noisy, t, states, *enlarged), theirs(noisy, t, tokens, is_text, *low)
    assert wanted.std() > 0.1
    torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("config", "parameters", "tensors"), [(NetConfig(), 385_030_726, 783), (UPSAMPLER, 398_361_286, 797)]
)
def test_the_defaults_are_the_published_sizes(config, parameters, tensors):
    with torch.device("meta"):
        net = GlideNet(config)
    assert sum(x.numel() for x in net.parameters()) == parameters
    places = published_places(net)
    assert len(places) == tensors
    assert sorted(name for place in places.values() for name in place.names) == sorted(net.state_dict())


def alphas(schedule):
    """Ἀ of the 1,000 timesteps: cosine (Nichol & Dhariwal 2021, Eq. 17) or linear betas."""
    if schedule == "linear":
        betas = np.linspace(1e-4, 0.02, 1000)
    else:
        signal = [math.cos((k / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for k in range(1001)]
        betas = np.array([min(1 - b / a, 0.999) for a, b in pairwise(signal)])
    return np.cumprod(1 - betas)


@torch.no_grad()
def test_a_picture_is_drawn_as_published(published):
    """Guidance on the noise alone, learned variance, 8 bits between the nets, 27 steps without chance."""
    folder, nets = published
    glide = Glide.from_pretrained(folder)
    texts, streams = ["Red shirt", "a"], [Rng(0).for_("a"), Rng(0).for_("b")]
    small = reference_small(nets["base.pt"], glide.tokenizer, texts, streams)
    torch.testing.assert_close(glide.small(texts, streams), small, atol=5e-4, rtol=0)  # ᾱ of 999 is 2e-9
    small = ((small + 1) * 127.5).round() / 127.5 - 1
    big = reference_enlarged(nets["upsample.pt"], glide.tokenizer, texts, streams, small)
    drawn = glide.enlarged(small, texts, streams)
    torch.testing.assert_close(drawn, big, atol=1e-4, rtol=0)
    assert (drawn.amin(), drawn.amax()) == (-1, 1)
    again = glide.draw(texts, streams)
    torch.testing.assert_close(
        2 * again - 1, glide.enlarged(quantised(glide.small(texts, streams)), texts, streams)
    )


def reference_small(net, tokenizer, texts, streams):
    """p_sample (Ho et al. 2020) over the respaced process, rows of the texts above those without."""
    tokens, is_text = tokenized(tokenizer, texts + [""] * len(texts), net.config.text_length)
    a, times = alphas(net.config.noise), net.config.timesteps
    x = torch.stack([noise(s.for_("base"), net.config.image_size) for s in streams])
    chance = [s.for_("base", "steps").torch() for s in streams]
    for t, before in zip(times, (*times[1:], None), strict=True):
        predicted, shares = net(torch.cat([x, x]), torch.tensor([t]), tokens, is_text).split(3, dim=1)
        given, free = predicted.chunk(2)
        epsilon, share = free + CONFIG.guidance * (given - free), shares.chunk(2)[0]
        old = 1.0 if before is None else a[before]
        beta = 1 - a[t] / old
        clean = ((x - (1 - a[t]) ** 0.5 * epsilon) / a[t] ** 0.5).clamp(-1, 1)
        x = old**0.5 * beta / (1 - a[t]) * clean + (a[t] / old) ** 0.5 * (1 - old) / (1 - a[t]) * x
        if before is not None:
            least, most = math.log(beta * (1 - old) / (1 - a[t])), math.log(beta)
            spread = torch.exp((least + (share + 1) / 2 * (most - least)) / 2)
            x = x + spread * torch.stack([torch.randn(x.shape[1:], generator=g) for g in chance])
    return x


def reference_enlarged(net, tokenizer, texts, streams, small):
    """ddim_sample with η = 0 (Song et al. 2021) over ``fast27``."""
    tokens, is_text = tokenized(tokenizer, texts, net.config.text_length)
    a = alphas(net.config.noise)
    x = 0.997 * torch.stack([noise(s.for_("upsampler"), net.config.image_size) for s in streams])
    for t, before in zip(FAST27, (*FAST27[1:], None), strict=True):
        epsilon = net(x, torch.tensor([t]), tokens, is_text, small)[:, :3]
        clean = ((x - (1 - a[t]) ** 0.5 * epsilon) / a[t] ** 0.5).clamp(-1, 1)
        epsilon = (x - a[t] ** 0.5 * clean) / (1 - a[t]) ** 0.5
        old = 1.0 if before is None else a[before]
        x = old**0.5 * clean + (1 - old) ** 0.5 * epsilon
    return x


def noise(stream, size):
    return torch.randn(3, size, size, generator=stream.torch())


def test_guidance_leaves_the_variance_alone():
    given, free = torch.randn(2, 4, 6, 2, 2, generator=Rng(0).torch())
    mixed = guided(given, free, 3.0)
    assert torch.equal(mixed[:, 3:], given[:, 3:])
    torch.testing.assert_close(mixed[:, :3], 3 * given[:, :3] - 2 * free[:, :3])


def test_timesteps_are_spaced_as_published():
    early, late = [997, 800, 799, 600, 599, 500, 400], [399, 377, 355, 333, 311, 288, 266, 244, 222, 200]
    latest = [199, 177, 155, 133, 111, 88, 66, 44, 22, 0]
    assert [*FAST27] == early + late + latest
    assert len(spaced(100)) == 100
    assert spaced(100)[0] == 999
    assert spaced(100)[-2:] == (10, 0)
    with pytest.raises(SettingError, match=r"timesteps must fall from below 1000.*got \(10, 10\)"):
        NetConfig(timesteps=(10, 10))


def test_texts_are_read_in_lower_case_and_cut(published):
    folder, _ = published
    codes = json.loads((folder / "vocab.json").read_text())
    tokenizer = Glide.from_pretrained(folder).tokenizer
    tokens, is_text = tokenized(tokenizer, ["RED shirt", "", "a" * 9], 7)
    assert tokens[0, :2].tolist() == [codes["red"], codes["Ġshirt"]]
    assert is_text.sum(1).tolist() == [2, 0, 7]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(unemb=torch.zeros(2)), r"unknown weights 'unemb' \(1 in all\)"),
        (lambda s: s.pop("out.2.bias"), r"weights 'out\.2\.bias' are missing \(1 in all\)"),
        (
            lambda s: s.update({"out.2.bias": torch.zeros(3)}),
            r"weights 'out\.2\.bias' must be \(6,\) as unet\.conv_out\.bias, got \(3,\)",
        ),
        (lambda s: s.update(epoch=3), "must be a state dict, got dict"),
    ],
)
def test_other_weights_are_told_by_name(published, tmp_path, change, message):
    state = dict(published[1]["base.pt"].state)
    change(state)
    torch.save(state, tmp_path / "base.pt")
    with pytest.raises(DataError, match=message) as told:
        read(tmp_path / "base.pt", BASE)
    assert "base.pt" in str(told.value)


def test_code_in_a_published_file_is_not_run(tmp_path):
    torch.save({"x": pytest.raises}, tmp_path / "base.pt")
    with pytest.raises(DataError, match="got a broken file"):
        read(tmp_path / "base.pt", BASE)


def test_a_family_reads_the_published_folder(published, tmp_path):
    """Other weights are another model: its fingerprint knows."""
    folder, _ = published
    family = open_family("paper").with_models(glide=str(folder))
    before = family.fingerprint("glide")
    drawn = family.glide(torch_dtype=torch.float32).draw(["red shirt"], [Rng(0)])
    assert drawn.shape == (1, 3, 32, 32)
    state = torch.load(folder / "base.pt", weights_only=True)
    state["out.2.bias"] += 1
    torch.save(state, folder / "base.pt")
    assert open_family("paper").with_models(glide=str(folder)).fingerprint("glide") != before


def test_missing_weights_are_told_with_file_licence_and_place(published, tmp_path):
    family = open_family("paper")
    family = replace(
        family.with_models(glide=str(tmp_path)),
        licences={str(tmp_path): family.licences[family.models.glide]},
    )
    with pytest.raises(MissingDependency) as told:
        family.glide()
    said = str(told.value)
    assert said.startswith(
        f"paper models: glide {tmp_path} (licence: MIT) is missing. Put its files there, base.pt"
    )
    assert "\n" not in said
    (tmp_path / "base.pt").touch()
    with pytest.raises(MissingDependency, match=r"no upsample\.pt"):
        family.glide()


def test_saved_and_read_again_it_draws_the_same(published, tmp_path):
    glide = Glide.from_pretrained(published[0])
    glide.save_pretrained(tmp_path)
    one, other = (g.draw(["red shirt"], [Rng(0)]) for g in (glide, Glide.from_pretrained(tmp_path)))
    assert torch.equal(one, other)
    (tmp_path / "config.json").write_text('{"class": "Glide", "bass": {}}')
    with pytest.raises(DataError, match="must be the config of a GLIDE"):
        Glide.from_pretrained(tmp_path)
