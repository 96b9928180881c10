"""``instruct_edit``: edits the reference's image by an instruction (Brooks et al. 2023).

The instruction names the look of the reference that fits the person's taste. A family that names an
``instruct_pix2pix`` brings published weights. Otherwise the family's UNet, with the image's latents as
additional input, is trained on edits drawn by Boutique's code, independent of the shop's people and items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.denoising import Denoising, frozen_sampler
from generators.editing import instructions
from generators.editing.config import InstructEditConfig
from generators.editing.editor import Editor
from generators.ragar.evidence import PREFIX as OF_TASTE
from generators.shop import world_of
from recsim_gen import __version__
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.processes import Team
from recsim_gen.core.progress import say
from recsim_gen.core.store import atomic, cache_dir, fingerprint
from recsim_gen.encoders.weights import quiet_diffusers

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.protocols import ExportedPart, Ranker, TrainingTracker
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Catalog, Episode

PREFIX = "unet."  # prefix of the UNet's weights


class InstructEdit(Editor):
    """InstructPix2Pix with an instruction derived from the person's taste."""

    name = "instruct_edit"
    config_class = InstructEditConfig
    learns = True  # at least the taste model
    training_version = 2

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._published = bool(self.family.models.instruct_pix2pix)
        self.roles = ("instruct_pix2pix" if self._published else "diffusion", "language_model")
        self._unet: dict[str, torch.Tensor] = {}
        self._editor: Any = None

    def fit(
        self,
        catalog: Catalog,
        episodes: Sequence[Episode],
        *,
        ranker: Ranker | None = None,
        judge: Ranker | None = None,
        rng: Rng,
        work: Path | None = None,
        tracker: TrainingTracker | None = None,
    ) -> InstructEdit:
        """Learn tastes from the histories and, if no weights are named, learn to edit.

        Raises SettingError if there are neither weights nor edits to learn from.
        """
        if not self._published and world_of(catalog) is None:
            raise SettingError(
                "instruct_edit learns to edit from looks that Boutique's code draws, these data are others: "
                "name weights, `instruct_pix2pix: FOLDER` under `models:` in --models FILE.yaml"
            )
        super().fit(catalog, episodes, rng=rng)
        if not self._published:
            self._learn(rng, work, tracker)
        return self

    def _learn(self, rng: Rng, work: Path | None, tracker: TrainingTracker | None) -> None:
        """Train the UNet, or load it from an equal training, which does not depend on guidance and people."""
        from safetensors.torch import load_file, save_file

        models = self.family.to_learn().fingerprint("diffusion")
        version = __version__, self.training_version
        key = fingerprint(version, models, self.config.of_training, rng)
        file, team = cache_dir() / "editing-unets" / f"{key}.safetensors", Team()
        if team.agreed(file.exists):
            say(f"{self.name}: UNet found in {file}")
            self._put(load_file(file))
            return
        self._put(self._trained(key, rng, work, tracker))
        if team.is_main_process:
            with atomic(file) as temporary:
                save_file(self._unet, temporary)

    def _trained(
        self, key: str, rng: Rng, work: Path | None, tracker: TrainingTracker | None
    ) -> dict[str, torch.Tensor]:
        """Return the UNet's weights after training; nothing else is changed."""
        import torch

        from generators.editing.pairs import draw_pairs
        from generators.editing.training import editing_unet, learn
        from recsim_gen.pretraining.source import looks_by_split

        family = self.family.to_learn()
        denoising = Denoising(frozen_sampler(family, self.device), self.catalog)
        whole: Any = family.diffusion(device=self.device, torch_dtype=torch.float32)
        unet = editing_unet(whole.unet).to(denoising.sampler.device)
        if family.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        pairs = draw_pairs(looks_by_split()["train"], self.config.pairs, rng.for_("pairs"))
        learn(unet, pairs, denoising, self.config, data=key, rng=rng, work=work, tracker=tracker)
        return {name: x.detach().cpu().clone() for name, x in unet.state_dict().items()}

    def words(self, episode: Episode) -> str:
        """Return the instruction."""
        (looks,), taste = self._evidence.looks([episode]), self._evidence.taste
        own, new = taste.lists[episode.reference], looks.keywords[0]
        if len(own) == len(new) == taste.length:
            return instructions.look(new)
        return instructions.additions(own, new, self.config.additions)

    def pipeline(self) -> Any:
        """Return the published pipeline, or the family's models with the trained UNet."""
        if self._editor is None:
            if not self._published:
                raise SettingError(f"{self.name} is neither fitted nor loaded: call fit or load first")
            self._editor = self.family.instruct_pix2pix(device=self.device)
        return self._editor

    def arguments(self) -> dict[str, Any]:
        """Return steps and both guidance scales."""
        return {
            "num_inference_steps": self.config.draw_steps,
            "guidance_scale": self.config.guidance,
            "image_guidance_scale": self.config.image_guidance,
        }

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the taste model, and the UNet if it was trained."""
        return {**super().weights(), **{f"{PREFIX}{name}": x for name, x in self._unet.items()}}

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load what was learned. Raises DataError if it does not fit the models or the catalogue."""
        super().restore({name: x for name, x in weights.items() if name.startswith(OF_TASTE)})
        if not self._published:
            unet = {n.removeprefix(PREFIX): x for n, x in weights.items() if n.startswith(PREFIX)}
            self._put(unet)

    def export(self, folder: Path, user_ids: Sequence[str]) -> Sequence[ExportedPart]:
        """Write the editing pipeline, and the taste model that instructions are made from."""
        from recsim_gen.core.protocols import ExportedPart

        self.pipeline().save_pretrained(folder)
        load = (
            "from diffusers import StableDiffusionInstructPix2PixPipeline\n\n"
            'pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(".")'
        )
        part = ExportedPart("model_index.json", "the diffusion model that edits by an instruction", load)
        return [part, *self._evidence.export(folder)]

    def _put(self, weights: dict[str, torch.Tensor]) -> None:
        """Use this UNet from now on."""
        from diffusers import StableDiffusionInstructPix2PixPipeline

        from generators.editing.training import editing_unet

        own: Any = self.family.diffusion(device=self.device)
        unet = editing_unet(own.unet)
        got, expected = (
            {n: tuple(x.shape) for n, x in each.items()} for each in (weights, unet.state_dict())
        )
        if got != expected:
            name = min(dict(expected.items() ^ got.items()))
            raise DataError(
                f"weights {name!r} must be {expected.get(name)}, got {got.get(name)}",
                remedy="Were they learned with other models? Train again",
            )
        unet.load_state_dict(weights)
        with quiet_diffusers():
            unet = unet.to(own.device, own.unet.dtype).eval()
        parts = {**own.components, "unet": unet}
        self._editor = StableDiffusionInstructPix2PixPipeline(**parts, requires_safety_checker=False)
        self._editor.set_progress_bar_config(disable=True)
        self._unet = weights
