"""The complete GLIDE: tokenizer, base and upsampler; texts to images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from recsim_gen.core.errors import MissingDependency
from recsim_gen.core.weights import read_tensors
from recsim_gen.models.glide.config import GlideConfig
from recsim_gen.models.glide.network import GlideNet
from recsim_gen.models.glide.published import FILES, read_published
from recsim_gen.models.glide.sampling import ancestral, deterministic, enlarge, quantised

if TYPE_CHECKING:
    from recsim_gen.core.randomness import Rng
    from recsim_gen.models.checkpoint import Checkpoint

NETS = ("base", "upsampler")
TOKENIZER = "tokenizer"
Upsampler = Literal["learned", "bilinear"]


class Glide(nn.Module):
    """Both nets, each with its own text transformer, and their common tokenizer."""

    def __init__(self, config: GlideConfig, tokenizer: Any) -> None:
        super().__init__()
        self.config, self.tokenizer = config, tokenizer
        self.base, self.upsampler = GlideNet(config.base), GlideNet(config.upsampler)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.base.text.padding_embedding.device

    def states(self, net: GlideNet, texts: Sequence[str]) -> torch.Tensor:
        """Return a net's (B, T, d) text states for ``texts``; "" is the unconditional text."""
        tokens, is_text = tokenized(self.tokenizer, texts, net.config.text_length)
        states: torch.Tensor = net.text(tokens.to(self.device), is_text.to(self.device))
        return states

    @torch.no_grad()
    def draw(
        self, texts: Sequence[str], noise: Sequence[Rng], *, upsampler: Upsampler = "learned"
    ) -> torch.Tensor:
        """Return (B, 3, s, s) float32 images in [0, 1] on the CPU; row i is random by ``noise[i]`` only.

        ``bilinear`` enlarges the base's images without the second net, as a control.
        """
        small = quantised(self.small(texts, noise))
        if upsampler == "bilinear":
            drawn = enlarge(small, self.config.upsampler.image_size)
        else:
            drawn = self.enlarged(small, texts, noise)
        return (drawn / 2 + 0.5).clamp(0, 1).cpu()

    @torch.no_grad()
    def small(self, texts: Sequence[str], noise: Sequence[Rng]) -> torch.Tensor:
        """Return the base's images, (B, 3, r, r) in [-1, 1]."""
        return ancestral(
            self.base,
            _gaussian([stream.for_("base") for stream in noise], self.config.base.image_size).to(self.device),
            self.states(self.base, texts),
            self.states(self.base, [""] * len(texts)),
            self.config.guidance,
            [stream.for_("base", "steps").torch() for stream in noise],
        )

    @torch.no_grad()
    def enlarged(self, small: torch.Tensor, texts: Sequence[str], noise: Sequence[Rng]) -> torch.Tensor:
        """Return ``small`` (B, 3, r, r) in [-1, 1] enlarged by the upsampler: (B, 3, s, s) in [-1, 1]."""
        first = _gaussian([stream.for_("upsampler") for stream in noise], self.config.upsampler.image_size)
        return deterministic(
            self.upsampler,
            self.config.first_noise * first.to(self.device),
            self.states(self.upsampler, texts),
            small.to(self.device),
            self.config.residual,
        )

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json``, a file of weights for each net, and the tokenizer."""
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write(folder)
        for name in NETS:
            weights = getattr(self, name).state_dict()
            save_file({key: x.contiguous() for key, x in weights.items()}, folder / f"{name}.safetensors")
        self.tokenizer.save_pretrained(folder / TOKENIZER)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Glide:
        """Load what ``save_pretrained`` wrote, or the published files with GPT-2's vocab.json and merges.txt.

        Raises MissingDependency for a missing file, DataError for an invalid one.
        """
        folder = Path(folder)
        published = (folder / FILES["base"]).is_file()
        if published:
            need(folder, *FILES.values(), "vocab.json", "merges.txt")
        else:
            need(folder, "config.json", *(f"{name}.safetensors" for name in NETS), TOKENIZER)
        config = GlideConfig.read(folder) if (folder / "config.json").is_file() else GlideConfig()
        tokenizer = _gpt2_tokenizer(folder) if published else _own_tokenizer(folder / TOKENIZER)
        with torch.device("meta"):  # no random initialisation before loading
            made = cls(config, tokenizer)
        for name in NETS:
            net: GlideNet = getattr(made, name)
            if published:
                weights = read_published(folder / FILES[name], net)
            else:
                weights = read_tensors(folder / f"{name}.safetensors", net.state_dict())
            # Copied: memory-mapped tensors are aligned differently, which changes the last bits of results.
            net.load_state_dict({key: x.clone() for key, x in weights.items()}, assign=True)
        return made.eval().requires_grad_(False)


def load_glide(checkpoint: Checkpoint, *, device: str, torch_dtype: torch.dtype) -> Glide:
    """Load a family's GLIDE in evaluation mode. Raises MissingDependency as ``Checkpoint.load`` does."""
    return checkpoint.load(Glide.from_pretrained).to(device, torch_dtype)


def tokenized(tokenizer: Any, texts: Sequence[str], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (B, length) int64 tokens of the texts in lower case, without start and end, and a text mask."""
    tokens, is_text = torch.zeros(len(texts), length, dtype=torch.int64), torch.zeros(len(texts), length)
    lower = [text.lower() for text in texts]
    for row, codes in enumerate(tokenizer(lower, add_special_tokens=False)["input_ids"] if lower else ()):
        kept = codes[:length]
        tokens[row, : len(kept)] = torch.tensor(kept, dtype=torch.int64)
        is_text[row, : len(kept)] = 1
    return tokens, is_text.bool()


def need(folder: Path, *names: str) -> None:
    """Raise MissingDependency unless all of these files are in ``folder``."""
    for name in names:
        if not (folder / name).exists():
            raise MissingDependency(f"no {name} in {folder}")


def _gpt2_tokenizer(folder: Path) -> Any:
    from transformers import GPT2Tokenizer

    return GPT2Tokenizer.from_pretrained(folder, local_files_only=True)


def _own_tokenizer(folder: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


def _gaussian(streams: Sequence[Rng], size: int) -> torch.Tensor:
    """Return (B, 3, size, size) standard normal noise, drawn on the CPU: equal on every device."""
    return torch.stack([torch.randn(3, size, size, generator=stream.torch()) for stream in streams])
