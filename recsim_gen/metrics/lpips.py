"""Learned perceptual distance of two images (Zhang et al., CVPR 2018), with the package lpips.

    d(x, y) = Σ_l mean_hw Σ_c w_lc (f̂_lchw(x) − f̂_lchw(y))²

f̂_l are the features of layer l of a network (alex, vgg, squeeze), normalised over channels; w comes with the
package (v0.1), the network's ImageNet weights do not.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.errors import DataError, MissingDependency, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import did_you_mean
from recsim_gen.encoders.weights import weights_fingerprint
from recsim_gen.metrics.pairs import TO_REAL, Against, Resize, against
from recsim_gen.metrics.recipes import OURS, PIGEON, PMG_BENCH, X100, Recipe, Spec, chosen
from recsim_gen.metrics.resources import Resources, read_weights

if TYPE_CHECKING:
    import torch

    from recsim_gen.metrics.rows import Rows

TRUNKS = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}
"""Networks, and torchvision's files of their ImageNet weights."""

RANDOM = "random-"
SMALLEST = 32  # smallest side in pixels: below it, the last layers of alex and squeeze are empty


@dataclass(frozen=True)
class _How:
    """Settings of a recipe."""

    backbone: str
    resize: Resize = TO_REAL
    scale: float = 1.0


RECIPES = {
    OURS: _How("alex"),  # "our best performing metric" as forward metric, the package's default
    X100: _How("alex", scale=100.0),
    PMG_BENCH: _How("vgg", Resize(512)),
    PIGEON: _How("vgg", Resize(None, "bilinear")),
}


class LayerDistance:
    """Distance of image pairs by a network's layers; each image is processed once for all its pairs.

    Subclasses provide ``layers``, the ``weights`` w (C,) of each, and a ``fingerprint``.
    """

    pixels_held = 1 << 19
    weights: list[torch.Tensor]
    fingerprint: str

    def layers(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Return the features (U, C, H, W) of each layer, which the caller may modify; pixels in [−1, 1]."""
        raise NotImplementedError

    def prepare(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Return the features (U, C, H, W) of each layer, normalised over C; pixels are in [0, 1].

        Raises DataError for images below 32 × 32.
        """
        if min(pixels.shape[2:]) < SMALLEST:
            high, wide = pixels.shape[2:]
            raise DataError(
                f"LPIPS wants pictures of at least {SMALLEST} x {SMALLEST} pixels, got {high} x {wide}"
            )
        seen = self.layers(2 * pixels - 1)
        # 1e-10 as in the packages.
        return [f / f.square().sum(1, keepdim=True).sqrt_().add_(1e-10) for f in seen]

    def compare(self, layers: list[torch.Tensor], left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Return the (P,) distances ≥ 0."""
        import torch

        total = torch.zeros(len(left), device=layers[0].device)
        for features, weight in zip(layers, self.weights, strict=True):
            flat = features.flatten(2)
            total += (flat[left] - flat[right]).square_().mean(2) @ weight
        return total


class Perceptual(LayerDistance):
    """LPIPS of image pairs.

    ``backbone``: alex, vgg or squeeze with ImageNet weights, from torchvision's files or
    ``resources.folder``; ``random-alex`` etc.: the same with random weights (seed 0), which is not LPIPS.
    Raises MissingDependency if weights or the package are missing.
    """

    def __init__(self, backbone: str, resources: Resources) -> None:
        net = backbone.removeprefix(RANDOM)
        if net not in TRUNKS:
            names = [*TRUNKS, *(RANDOM + name for name in TRUNKS)]
            raise SettingError(f"unknown backbone {backbone!r} of lpips.{did_you_mean(backbone, names)}")
        state = None if backbone.startswith(RANDOM) else read_weights(_trunk_file(net, resources))
        self.model = _network(net).to(resources.device)
        if state is not None:
            _load_trunk(self.model.net, state, net)
        self.fingerprint = weights_fingerprint(self.model, "lpips 0.1")
        self.weights = [lin.model[-1].weight.detach().flatten() for lin in self.model.lins]

    def layers(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Return the features (U, C, H, W) of each layer."""
        return [*self.model.net(self.model.scaling_layer(pixels.to(self.weights[0].device)))]


def _network(net: str) -> Any:
    """Return the package's network with its w and a random trunk (fixed seed)."""
    import torch

    try:
        import lpips
    except ModuleNotFoundError as error:
        raise MissingDependency("needs the package lpips: run pip install 'recsim-gen[metrics]'") from error
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # it uses a deprecated call of torchvision
        torch.manual_seed(Rng(0).for_("lpips", net).integer())
        model = lpips.LPIPS(net=net, version="0.1", pnet_rand=True, verbose=False)
    return model.eval().requires_grad_(False)


def _trunk_file(net: str, resources: Resources) -> Any:
    """Return the file of the ImageNet weights. Raises MissingDependency if it is not there."""
    from pathlib import Path

    import torch

    kept = Path(torch.hub.get_dir()) / "checkpoints" / TRUNKS[net]
    if kept.is_file():
        return kept
    model = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}[net]
    fetch = f"import torchvision; torchvision.models.{model}(weights='IMAGENET1K_V1')"
    origin = (
        "torchvision's ImageNet weights, BSD-3-Clause licence; "
        f'`python -c "{fetch}"` fetches it to {kept.parent}'
    )
    return resources.file(TRUNKS[net], origin)


def _load_trunk(trunk: Any, state: dict[str, torch.Tensor], net: str) -> None:
    """Load weights ``features.3.weight`` … into the package's slices, which keep the layer numbers."""
    own = trunk.state_dict()  # slice2.3.weight
    try:
        trunk.load_state_dict({key: state["features." + key.partition(".")[2]] for key in own})
    except (KeyError, RuntimeError) as error:
        raise DataError(
            f"torchvision's weights of {net} are wanted, got others ({error})",
            file=TRUNKS[net],
            remedy="Fetch it again",
        ) from error


class PerceptualMetric:
    """A layer distance to the reference's own image, or to the images of the history."""

    against: Against = "target"
    unit: str
    range = (0.0, np.inf)
    higher_is_better: bool | None = False

    def __init__(
        self,
        spec: Spec,
        distance: LayerDistance,
        *,
        backbone: str,
        resize: Resize = TO_REAL,
        scale: float = 1.0,
        note: str = "",
    ) -> None:
        self.name, self.needs = str(spec), (self.against,)
        self._distance, self._resize, self._scale = distance, resize, scale
        self.recipe = Recipe(
            spec.recipe,
            backbone=backbone,
            weights=distance.fingerprint,
            resize=str(resize),
            input_range="[-1, 1]",
            scale=scale,
            note=note,
        )

    def __call__(self, rows: Rows) -> np.ndarray:
        """Return the (B,) distances ≥ 0."""
        return self._scale * against(rows, self.against, self._distance, self._resize)


class LPIPS(PerceptualMetric):
    """LPIPS to the reference's own image."""

    unit = "LPIPS"

    def __init__(self, spec: Spec, resources: Resources) -> None:
        recipe = chosen(RECIPES, spec)
        backbone = spec.backbone or recipe.backbone
        random = backbone.startswith(RANDOM)
        super().__init__(
            spec,
            Perceptual(backbone, resources),
            backbone=f"{backbone}, lpips v0.1",
            resize=recipe.resize,
            scale=recipe.scale,
            note="random weights: a distance of LPIPS's shape, not LPIPS" if random else "",
        )


class LPIPSHistory(LPIPS):
    """Mean LPIPS to the images of the history."""

    against: Against = "history"
