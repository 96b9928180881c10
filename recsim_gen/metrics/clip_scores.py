"""Cosines between images and texts in the space of a dual encoder: CPS, CPIS, CS and CIS.

====  =======================  ===========================================================
name  cosine of the image      recipes
      with
====  =======================  ===========================================================
CPS   the user's taste, in     ours, pigeon: each caption of the history, mean;
      words                    pmg-bench: the keywords, joined by ", "
CPIS  the history's images     mean of the cosines (not the cosine with the mean)
CS    the reference's caption  ours, pigeon; pmg-bench has none
CIS   the reference's image    ours, pigeon; pmg-bench has none
====  =======================  ===========================================================

Backbones: ours CLIP ViT-L/14 (the encoder of RAGAR), pmg-bench OpenAI's ViT-B/32, pigeon OpenCLIP ViT-H-14.
Numbers of different backbones are not comparable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import SettingError
from recsim_gen.core.vectors import unit
from recsim_gen.metrics.recipes import OURS, PIGEON, PMG_BENCH, X100, Recipe, Spec, chosen

if TYPE_CHECKING:
    from recsim_gen.metrics.resources import Resources
    from recsim_gen.metrics.rows import Rows

VIT_L_14 = "hf:openai/clip-vit-large-patch14"
VIT_B_32 = "hf:openai/clip-vit-base-patch32"
VIT_H_14 = "open_clip:ViT-H-14/laion2b_s32b_b79k"


@dataclass(frozen=True)
class _How:
    """Settings of a recipe."""

    backbone: str
    scale: float = 1.0


RECIPES = {
    OURS: _How(VIT_L_14),
    X100: _How(VIT_L_14, 100.0),
    PMG_BENCH: _How(VIT_B_32),
    PIGEON: _How(VIT_H_14, 100.0),
}


def mean_cosine(x: np.ndarray, others: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return the (B,) means of cos(x_b, others_bh) over the present h; NaN if none is present.

    ``x`` (B, d), ``others`` (B, H, d), ``present`` (B, H) bool.
    """
    cosine = np.einsum("bd,bhd->bh", unit(x, np.float64), unit(others, np.float64))
    count = present.sum(1)
    total = np.where(present, cosine, 0).sum(1)
    return np.divide(total, count, out=np.full(len(x), np.nan), where=count > 0)


class _ClipScore:
    """Base class of the four scores: one encoder, unit features, a scale."""

    metric: str
    needs: tuple[str, ...]
    higher_is_better: bool | None = True
    reads_texts = True
    recipes: tuple[str, ...] = tuple(RECIPES)

    def __init__(self, spec: Spec, resources: Resources) -> None:
        recipe = chosen({name: RECIPES[name] for name in self.recipes}, spec)
        backbone = spec.backbone or recipe.backbone
        self._encoder = resources.encoder(backbone)
        methods = ["encode_images"] + ["encode_texts"] * self.reads_texts
        if not all(hasattr(self._encoder, name) for name in methods):
            kind = "pictures and texts" if self.reads_texts else "pictures"
            raise SettingError(f"{spec}: an encoder of {kind} is wanted, got {backbone!r}")
        self.name = str(spec)
        self.unit = "cosine" if recipe.scale == 1 else f"cosine x {recipe.scale:g}"
        self.range = (-recipe.scale, recipe.scale)
        self._scale = recipe.scale
        self.recipe = Recipe(
            spec.recipe,
            backbone=backbone,
            weights=self._encoder.fingerprint,
            resize="as the backbone prepares pictures",
            scale=recipe.scale,
            prompt=self.prompt(spec.recipe),
        )

    def prompt(self, recipe: str) -> str:
        """Return a description of the text that this recipe encodes."""
        return ""

    def _pictures(self, rows: Rows, other: np.ndarray) -> np.ndarray:
        """Return the (B,) mean cosines of each row's image with the images ``other`` (B, H), −1 for none."""
        x, present = rows.store.images(self._encoder, rows.image), other >= 0
        shown = np.zeros((*other.shape, x.shape[1]), dtype=np.float32)
        if present.any():
            shown[present] = rows.store.images(self._encoder, other[present])
        return self._scale * mean_cosine(x, shown, present)

    def _texts(self, rows: Rows, texts: np.ndarray) -> np.ndarray:
        """Return the (B,) mean cosines of each row's image with ``texts`` (B, H), "" for none."""
        x, present = rows.store.images(self._encoder, rows.image), np.char.str_len(texts) > 0
        read = np.zeros((*texts.shape, x.shape[1]), dtype=np.float32)
        if present.any():
            read[present] = rows.store.texts(self._encoder, texts[present])
        return self._scale * mean_cosine(x, read, present)


class CPS(_ClipScore):
    """CLIP personalisation score: does the image fit the user's taste as text?"""

    def __init__(self, spec: Spec, resources: Resources) -> None:
        self.needs = ("keywords",) if spec.recipe == PMG_BENCH else ("history_text",)
        super().__init__(spec, resources)

    def prompt(self, recipe: str) -> str:
        """Return how the recipe forms the text: keywords joined, or each caption."""
        return (
            '", ".join(keywords)' if recipe == PMG_BENCH else "each caption of the history, mean of cosines"
        )

    def __call__(self, rows: Rows) -> np.ndarray:
        """Return the (B,) scores in ``range``."""
        if self.recipe.name != PMG_BENCH:
            return self._texts(rows, rows.get("history_text"))
        joined = [", ".join(filter(None, words)) for words in rows.get("keywords").tolist()]
        return self._texts(rows, np.array(joined, dtype=str)[:, None])


class CPIS(_ClipScore):
    """CLIP personalisation image score: does the image resemble the user's history?"""

    needs = ("history",)
    reads_texts = False

    def __call__(self, rows: Rows) -> np.ndarray:
        """Return the (B,) scores in ``range``."""
        return self._pictures(rows, rows.get("history"))


class CS(_ClipScore):
    """CLIP score: does the image fit the reference's caption?"""

    needs = ("target_text",)
    recipes = (OURS, X100, PIGEON)

    def prompt(self, recipe: str) -> str:
        """Return that the text is the caption itself."""
        return "the reference's caption"

    def __call__(self, rows: Rows) -> np.ndarray:
        """Return the (B,) scores in ``range``."""
        return self._texts(rows, rows.get("target_text")[:, None])


class CIS(_ClipScore):
    """CLIP image score: does the image resemble the reference's own?"""

    needs = ("target",)
    recipes = (OURS, X100, PIGEON)
    reads_texts = False

    def __call__(self, rows: Rows) -> np.ndarray:
        """Return the (B,) scores in ``range``."""
        return self._pictures(rows, rows.get("target")[:, None])
