"""One training at one size, by as many processes as were launched: the first one prints seconds as JSON.

    python tests/benchmarks/together_at_size.py lightgcn 100000
    torchrun --nproc-per-node=2 tests/benchmarks/together_at_size.py lightgcn 100000

Seconds are those of the clock, in the world of `ranker_at_size`: of each epoch, of the one validation, and of
both. Lists of raw features are made before, or found in the cache.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from ranker_at_size import Clock, world

EPOCHS = 5


def measure(name: str, n: int) -> dict[str, Any]:
    """Seconds of `EPOCHS` epochs and the validation after them."""
    from rankers.training import loop
    from recsim_gen.artifacts.trained_rankers import make_ranker
    from recsim_gen.core.processes import Team
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.specs import RankerSpec

    catalog, interactions = world(n)
    epochs = Clock(loop, "one_epoch", time.perf_counter)
    validation = Clock(loop.Validation, "__call__", time.perf_counter)
    ranker = make_ranker(RankerSpec(name, {"epochs": EPOCHS, "eval_step": EPOCHS}))
    ranker.fit(catalog, interactions, rng=Rng(0))
    return {
        "processes": Team().count,
        "epochs": epochs.calls,
        "validation": validation.seconds,
        "all": epochs.seconds + validation.seconds,
        "weights": {k: float(v.double().abs().sum()) for k, v in ranker.model.state_dict().items()},
    }


if __name__ == "__main__":
    from recsim_gen.core.processes import this_process, working_together

    with working_together():
        found = measure(sys.argv[1], int(sys.argv[2]))
        if this_process().is_main_process:
            sys.stdout.write(json.dumps(found) + "\n")
