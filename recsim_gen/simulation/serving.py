"""Loader of rankers that were logged to MLflow when it stood here: `recsim_gen.artifacts.serving` now."""

from recsim_gen.artifacts.serving import _load_pyfunc

__all__ = ["_load_pyfunc"]
