"""Evaluate a family of models on the held-out data of its training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recsim_gen.core.config import run
from recsim_gen.core.options import DataOptions, ModelOptions, RunOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsim_gen.core.results import Results
    from recsim_gen.models.family import ModelFamily
    from recsim_gen.pretraining.measuring import Sampling
    from recsim_gen.pretraining.source import PretrainingSource

ROLES = ("diffusion", "text_encoder", "image_encoder", "language_model", "verifier")


@dataclass(frozen=True, kw_only=True)
class Options(ModelOptions, DataOptions, RunOptions):
    """Options of measure_family.

    Parameters
    ----------
    split
        Held-out rows: test to report, valid to choose steps and guidance.
    prompts
        Most captions to use.
    steps
        Sampling steps, default the family's own.
    guidance
        Scale of classifier-free guidance, default the family's own; 1 is none.
    seeds
        Seeds of the pictures, pooled.
    """

    split: Literal["test", "valid"] = "test"
    prompts: int = 1000
    steps: int | None = None
    guidance: float | None = None
    seeds: tuple[int, ...] = (0,)
    output: Path = Path("runs/measure_family")


def main(options: Options) -> None:
    """Evaluate pictures drawn from captions and keywords of held-out looks.

    The verifier reads category, both colours and pattern from real renders (its upper bound), from the same
    after the autoencoder, and from pictures generated from their captions. For a catalogue without known
    attributes only the other metrics are computed.
    """
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.results import Results
    from recsim_gen.datasets.opening import open_data
    from recsim_gen.models.family import open_family
    from recsim_gen.pretraining.measuring import Sampling, judge_by_bars
    from recsim_gen.pretraining.source import open_source

    if options.prompts < 2:
        raise SettingError(f"--prompts must be 2 or more, got {options.prompts}")
    family = open_family(options.models)
    roles = [role for role in ROLES if getattr(family.models, role)]
    family.require(*roles)
    dataset = open_data(options.data)
    # One training render is the minimum; nothing is trained here.
    source = open_source(dataset, renders=1, rng=Rng(0).for_("measuring"))
    fingerprints = {"data": dataset.fingerprint, "source": source.fingerprint}
    fingerprints["models"] = family.fingerprint(*roles)
    results = Results("measure_family", options.as_dict(), fingerprints)
    rows = source.rows(options.split)[: options.prompts]
    sampling = Sampling.of(family, options.steps, options.guidance)
    generated = _pictures(family, source, rows, sampling, options.seeds, results)
    _retrieval(family, source, rows, results)
    if "language_model" in roles:
        _language(family, source, options.split, results)
    judge_by_bars(results)
    _publish(source, rows, generated, options, results)


def _pictures(
    family: ModelFamily,
    source: PretrainingSource,
    rows: NDArray[Any],
    sampling: Sampling,
    seeds: Sequence[int],
    results: Results,
) -> NDArray[Any]:
    """Evaluate real, reconstructed and generated pictures; return those of the first seed."""
    import numpy as np

    from recsim_gen.core.randomness import Rng
    from recsim_gen.pretraining.measuring import add_rows, drawn, psnr, reconstructed, seconds_for_32

    texts = [source.captions[row] for row in rows]
    real = np.asarray(source.images[rows])
    sets = {"real": [real], "vae": [reconstructed(family, real)]}
    sets["generated"] = [
        drawn(family, texts, sampling, rng=Rng(seed).for_("measuring", "noise")) for seed in seeds
    ]
    add_rows(results, "vae", {"psnr": psnr(real, sets["vae"][0])}, np.arange(len(rows)))
    results.row(variant="generated", metric="seconds_32", value=seconds_for_32(family, texts[0], sampling))
    if source.attributes is None or not family.models.verifier:
        results.note(
            "nothing is read from pictures: that takes a verifier, and a catalogue of known attributes"
        )
    else:
        for variant, pictures in sets.items():
            truth = np.tile(source.attributes[rows], (len(pictures), 1))
            clusters = np.tile(np.arange(len(rows)), len(pictures))
            add_rows(results, variant, _read(family, np.concatenate(pictures), truth), clusters)
    first: NDArray[Any] = sets["generated"][0]
    return first


def _read(family: ModelFamily, pictures: NDArray[Any], truth: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return which attributes (n,) bool the verifier reads correctly, and whether all."""
    from recsim_gen.models.attribute_reader import ATTRIBUTES, ImageVerifier
    from recsim_gen.pretraining.measuring import as_pixels

    verifier = ImageVerifier.from_pretrained(family.folder("verifier"))
    right = verifier.read(as_pixels(pictures)).codes == truth
    return {**dict(zip(ATTRIBUTES, right.T, strict=True)), "all": right.all(1)}


def _retrieval(family: ModelFamily, source: PretrainingSource, rows: NDArray[Any], results: Results) -> None:
    """Evaluate text-to-image retrieval among rows with unique captions."""
    import numpy as np

    from recsim_gen.pretraining.measuring import add_rows, text_to_image_ranks

    captions = np.array(source.captions)[rows]
    _, first, count = np.unique(captions, return_index=True, return_counts=True)
    once = rows[np.sort(first[count == 1])]
    place = text_to_image_ranks(family, source, once)
    add_rows(results, "clip", {"recall@1": place <= 1}, np.arange(len(once)))
    results.row(variant="clip", metric="median_rank", value=float(np.median(place)), n=len(once))


def _language(family: ModelFamily, source: PretrainingSource, split: str, results: Results) -> None:
    """Evaluate the language model's answers for all items of the split."""
    from recsim_gen.pretraining.language import measure

    model: Any
    model, tokenizer = family.language_model()
    for metric, value in measure(model, tokenizer, source, split).items():
        results.row(variant="llm", metric=metric, value=value)


def _publish(
    source: PretrainingSource,
    rows: NDArray[Any],
    generated: NDArray[Any],
    options: Options,
    results: Results,
) -> None:
    """Write two contact sheets, generated and real, and call `report`."""
    from PIL import Image

    from analysis.sheets import contact_sheet
    from recsim_gen.core.report import report
    from recsim_gen.core.tracking import Tracker

    output = options.output

    def draw() -> list[Path]:
        """Draw contact sheets of 100 generated and 100 real images; return their paths."""
        shown = {"generated": generated[:100], "real": source.images[rows[:100]]}
        labels = [source.titles[row] for row in rows[:100]]
        return [
            contact_sheet(
                [Image.fromarray(picture) for picture in pictures],
                labels,
                10,
                output / f"{name}.png",
                side=96,
                palette=256,
            )
            for name, pictures in shown.items()
        ]

    results.write(output)  # before the tracker, which may fail
    with Tracker.of("measure_family", options) as tracker:
        report(results, tracker, output, draw=draw)


if __name__ == "__main__":
    raise SystemExit(run(main))
