"""What do edits win, and what do they keep of the reference? Boutique; a figure and a table.

    python tests/benchmarks/editing_curve.py 300 --seeds 0 1 2

`evaluate`, asked about `edit` at several strengths (its prompt the look by taste, and the reference's own
caption), `instruct_edit` at several guidances by the picture, and methods that draw from noise alone. Won are
ΔR of judges that gave no reward, true liking and CPS; kept are SSIM and ST-LPIPS to the reference's own
picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import recsim_gen.api as rs
from analysis.editing_figure import editing_curves
from recsim_gen.core.table import pooled

WON = {
    "delta_r[held-out]": "ΔR, held-out judges",
    "oracle_utility": "true liking",
    "cps[boutique-clip]": "CPS",
}
KEPT = {"ssim": "SSIM to the reference", "st_lpips": "ST-LPIPS to the reference"}
METRICS = ("delta_r", "oracle_utility", "cps[boutique-clip]", "ssim", "st_lpips", "category_kept")
JUDGES = ("micro-seed0", "taste@boutique-clip-seed0", "micro-seed1", "vbpr-seed0", "lattice-seed0")
PROMPTS = {"edit, look by taste": "taste", "edit, own caption": "caption"}
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
IMAGE_GUIDANCES = (1.0, 1.5, 2.0, 3.0)
OTHERS = ("original", "sd", "ragar", "ragar_taste", "oracle_sd")


def main() -> None:
    """Evaluate, print the table and draw the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("episodes", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--strengths", type=float, nargs="+", default=STRENGTHS)
    parser.add_argument("--image-guidances", type=float, nargs="*", default=IMAGE_GUIDANCES)
    parser.add_argument("--others", nargs="+", default=OTHERS)
    parser.add_argument("--judges", nargs="+", default=JUDGES)
    parser.add_argument("--output", type=Path, default=Path("runs/editing_curve"))
    options = parser.parse_args()
    lines = {
        name: {f"{prompt}{strength:g}": f"{strength:g}" for strength in options.strengths}
        for name, prompt in PROMPTS.items()
    }
    edits = [
        f"{prompt}{strength:g}=edit:prompt={prompt},strength={strength}"
        for prompt in PROMPTS.values()
        for strength in options.strengths
    ]
    if options.image_guidances:
        lines["instruct_edit"] = {f"instruct{x:g}": f"{x:g}" for x in options.image_guidances}
        edits += [f"instruct{x:g}=instruct_edit:image_guidance={x}" for x in options.image_guidances]
    results = rs.evaluate(
        rs.load_data("boutique"),
        [*edits, *options.others],
        metrics=METRICS,
        judges=options.judges,
        baseline="sd" if "sd" in options.others else "placebo",
        episodes=options.episodes,
        seeds=options.seeds,
        output=options.output,
    )
    table = pooled(results)
    wide = table.assign(
        cell=[f"{r.value:.3f} [{r.low:.3f}, {r.high:.3f}]" for r in table.itertuples()]
    ).pivot(index="variant", columns="metric", values="cell")
    print(wide.reindex([*dict.fromkeys(table["variant"])])[[*WON, *KEPT, "category_kept"]].to_markdown())
    over = "people and trainings" if len(options.seeds) > 1 else "people, one training"
    paths = editing_curves(
        table[table["metric"].isin([*WON, *KEPT])],
        options.output / "editing",
        title=f"What edits win and keep, {options.episodes} people",
        caption="Numbers: strength, guidance by the picture; to the right more is kept. "
        f"Grey: 95% intervals over {over}.",
        won=WON,
        kept=KEPT,
        lines=lines,
        lower_is_kept=["st_lpips"],
    )
    print(*paths, sep="\n")


if __name__ == "__main__":
    main()
