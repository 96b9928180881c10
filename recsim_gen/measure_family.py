"""Measure a family of models on what was held out when it was trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recsim_gen.core.config import run

if TYPE_CHECKING:
    import numpy as np

    from recsim_gen.core.results import Results
    from recsim_gen.models.family import ModelFamily
    from recsim_gen.pretraining.source import PretrainingSource

ROLES = ("diffusion", "text_encoder", "image_encoder", "language_model", "verifier")


def main(
    models: str = "embedded",
    data: str = "boutique",
    data_settings: dict[str, Any] | None = None,
    split: Literal["test", "valid"] = "test",
    prompts: int = 1000,
    steps: int | None = None,
    guidance: float | None = None,
    seeds: tuple[int, ...] = (0,),
    output: Path = Path("runs/measure_family"),
    tracking_uri: str | None = None,
    quiet: bool = False,
) -> None:
    """Ask a family for pictures, captions' pictures and keywords of held-out looks, and count what is right.

    The verifier reads category, both colours and pattern from real renders (what it can read at
    best), from the same through the autoencoder, and from pictures generated from their captions.
    A catalogue without known attributes is measured by what does not need them.

    Parameters
    ----------
    models
        The family: embedded, or a folder that pretrain wrote.
    data
        What it was trained on: NAME or NAME:PATH.
    data_settings
        Settings of the loader, as in pretraining.
    split
        Held-out rows: test to report, valid to choose steps and guidance by.
    prompts
        At most so many captions.
    steps
        Steps of the sampler, default the family's own.
    guidance
        Scale of classifier-free guidance, default the family's own; 1 is none.
    seeds
        Draws of the pictures, pooled.
    output
        Folder for results.json and the contact sheets.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db beside the output folder.
    quiet
        Print the table and the paths only.
    """
    config = dict(locals())
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.results import Results
    from recsim_gen.datasets.opening import open_data
    from recsim_gen.models.family import open_family
    from recsim_gen.pretraining.measuring import judge_by_bars
    from recsim_gen.pretraining.source import open_source

    if prompts < 2:
        raise SettingError(f"--prompts must be 2 or more, got {prompts}")
    family = open_family(models)
    roles = [role for role in ROLES if getattr(family.models, role)]
    family.require(*roles)
    dataset = open_data(data, **(data_settings or {}))
    # One render to learn from is the fewest; nothing is learned here.
    source = open_source(dataset, renders=1, rng=Rng(0).for_("measuring"))
    fingerprints = {"data": dataset.fingerprint, "source": source.fingerprint}
    results = Results("measure_family", config, {**fingerprints, "models": family.fingerprint(*roles)})
    rows = source.rows(split)[:prompts]
    generated = _pictures(family, source, rows, config, results)
    _retrieval(family, source, rows, results)
    if "language_model" in roles:
        _language(family, source, split, results)
    judge_by_bars(results)
    _publish(source, rows, generated, config, results)


def _pictures(
    family: ModelFamily,
    source: PretrainingSource,
    rows: np.ndarray,
    config: dict[str, Any],
    results: Results,
) -> np.ndarray:
    """Real, reconstructed and generated pictures in numbers; gives those of the first seed."""
    import numpy as np

    from recsim_gen.core.randomness import Rng
    from recsim_gen.pretraining.measuring import add_rows, drawn, psnr, reconstructed, seconds_for_32

    how = {"steps": config["steps"], "guidance": config["guidance"]}
    texts = [source.captions[row] for row in rows]
    real = np.asarray(source.pictures[rows])
    sets = {"real": [real], "vae": [reconstructed(family, real)]}
    sets["generated"] = [
        drawn(family, texts, rng=Rng(seed).for_("measuring", "noise"), **how) for seed in config["seeds"]
    ]
    add_rows(results, "vae", {"psnr": psnr(real, sets["vae"][0])}, np.arange(len(rows)))
    results.row(variant="generated", metric="seconds_32", value=seconds_for_32(family, texts[0], **how))
    if source.attributes is None or not family.models.verifier:
        results.note(
            "nothing is read from pictures: that takes a verifier, and a catalogue of known attributes"
        )
    else:
        for variant, pictures in sets.items():
            truth = np.tile(source.attributes[rows], (len(pictures), 1))
            clusters = np.tile(np.arange(len(rows)), len(pictures))
            add_rows(results, variant, _read(family, np.concatenate(pictures), truth), clusters)
    first: np.ndarray = sets["generated"][0]
    return first


def _read(family: ModelFamily, pictures: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Which attributes (n,) bool the verifier reads as they should be, and whether all."""
    from recsim_gen.models.attribute_reader import ATTRIBUTES, ImageVerifier
    from recsim_gen.pretraining.measuring import as_pixels

    verifier = ImageVerifier.from_pretrained(family.folder("verifier"))
    right = verifier.read(as_pixels(pictures)).codes == truth
    return {**dict(zip(ATTRIBUTES, right.T, strict=True)), "all": right.all(1)}


def _retrieval(family: ModelFamily, source: PretrainingSource, rows: np.ndarray, results: Results) -> None:
    """Text to image among rows whose captions are unique."""
    import numpy as np

    from recsim_gen.pretraining.measuring import add_rows, text_to_image_ranks

    captions = np.array(source.captions)[rows]
    _, first, count = np.unique(captions, return_index=True, return_counts=True)
    once = rows[np.sort(first[count == 1])]
    place = text_to_image_ranks(family, source, once)
    add_rows(results, "clip", {"recall@1": place <= 1}, np.arange(len(once)))
    results.row(variant="clip", metric="median_rank", value=float(np.median(place)), n=len(once))


def _language(family: ModelFamily, source: PretrainingSource, split: str, results: Results) -> None:
    """Answers of the language model for all items of the split."""
    from recsim_gen.pretraining.language import measure

    model: Any
    model, tokenizer = family.language_model()
    for metric, value in measure(model, tokenizer, source, split).items():
        results.row(variant="llm", metric=metric, value=value)


def _publish(
    source: PretrainingSource,
    rows: np.ndarray,
    generated: np.ndarray,
    config: dict[str, Any],
    results: Results,
) -> None:
    """Two contact sheets, generated and real, and what `report` does."""
    from PIL import Image

    from analysis.sheets import contact_sheet
    from recsim_gen.core.report import report
    from recsim_gen.core.tracking import Tracker

    output = config["output"]

    def draw() -> list[Path]:
        shown = {"generated": generated[:100], "real": source.pictures[rows[:100]]}
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

    results.write(output)  # before a tracker is made: that may fail
    with Tracker("measure_family", config, output=output, uri=config["tracking_uri"]) as tracker:
        report(results, tracker, output, draw=draw)


if __name__ == "__main__":
    raise SystemExit(run(main))
