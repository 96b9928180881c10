"""Registries {name: "module:Class"}; a class is imported only when it is used.

``recsim_gen`` refers to rankers, datasets, encoders and generators only through these strings, so listing the
names imports nothing heavy.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, Literal, get_args, get_origin, get_type_hints

from recsim_gen.core.errors import SettingError

RANKERS = {
    "micro": "rankers.micro:MICRORanker",
    "lattice": "rankers.lattice:LATTICERanker",
    "vbpr": "rankers.vbpr:VBPRRanker",
    "bpr": "rankers.bpr:BPRRanker",
    "lightgcn": "rankers.lightgcn:LightGCNRanker",
    "popularity": "rankers.popularity:Popularity",
    "taste": "rankers.taste:TasteRanker",
    "din": "rankers.din:DINRanker",
}

RANKER_CONFIGS = {
    "micro": "rankers.configs:MICROConfig",
    "lattice": "rankers.configs:LATTICEConfig",
    "vbpr": "rankers.configs:VBPRConfig",
    "bpr": "rankers.configs:BPRConfig",
    "lightgcn": "rankers.configs:LightGCNConfig",
    "popularity": "rankers.configs:PopularityConfig",
    "taste": "rankers.configs:TasteConfig",
    "din": "rankers.configs:DINConfig",
}
"""Config classes of rankers that take seconds to import; the others have a ``config_class``."""

DATASETS = {
    "boutique": "recsim_gen.datasets.boutique.world:load",
    "ml-100k": "recsim_gen.datasets.ml100k:load",
    "csv": "recsim_gen.datasets.tables.csv_folder:CsvFolder",
    "recbole": "recsim_gen.datasets.tables.recbole_folder:RecboleFolder",
    "hf": "recsim_gen.datasets.tables.hf_folder:HfFolder",
    "movielens": "recsim_gen.datasets.movielens:load",
    "unified": "recsim_gen.datasets.unified.loader:load",
    "pog": "recsim_gen.datasets.pog:load",
    "ser30k": "recsim_gen.datasets.ser30k:load",
    "flickr-aes": "recsim_gen.datasets.flickr_aes:load",
    "gallery": "recsim_gen.datasets.gallery:load",
    "pmg-movieposter": "recsim_gen.datasets.pmg_bench.movieposter:load",
    "pmg-pog": "recsim_gen.datasets.pmg_bench.pog:load",
    "pmg-ser30k": "recsim_gen.datasets.pmg_bench.ser30k:load",
}
"""Loaders: functions that return a `Dataset`, or settings dataclasses whose ``dataset()`` returns it."""

PREPARED = "recsim_gen.datasets.opening:prepared"
"""Settings that all data have, whatever the loader."""

KEYWORDS = "generators.keywords:Keywords"
"""Prompts a family's language model for keywords of items and of tastes."""

LAYOUT_ADVICE = "recsim_gen.datasets.tables.layouts:advice"
"""Describes which data layouts fit the content of a folder."""

WRITERS = {
    "unified": "recsim_gen.datasets.unified.writer:write_unified",
    "recbole": "recsim_gen.datasets.recbole_writer:write_recbole",
    "csv": "recsim_gen.datasets.tables.csv_writer:write_csv",
    "pmg-movieposter": "recsim_gen.datasets.pmg_bench.movieposter_writer:write_pmg_movieposter",
    "pmg-pog": "recsim_gen.datasets.pmg_bench.pog_writer:write_pmg_pog",
    "pmg-ser30k": "recsim_gen.datasets.pmg_bench.ser30k_writer:write_pmg_ser30k",
}
"""Layouts that a dataset can be written in: ``write(dataset, folder)``, atomically."""

ENCODERS = {
    "pixels": "recsim_gen.encoders.pixels:Pixels",
    "words": "recsim_gen.encoders.words:Words",
    "phrases": "recsim_gen.encoders.phrases:Phrases",
    "minilm": "recsim_gen.encoders.minilm:MiniLM",
    "efficientnet-lite0": "recsim_gen.encoders.efficientnet:EfficientNetLite0",
    "efficientnet-lite2": "recsim_gen.encoders.efficientnet:EfficientNetLite2",
    "open_clip": "recsim_gen.encoders.openclip:OpenClip",
    "hf": "recsim_gen.encoders.huggingface:HuggingFace",
    "boutique-clip": "recsim_gen.encoders.huggingface:boutique_clip",
}

MODALITIES = ("text", "image")
"""Modalities that encoders make features of."""

METRICS = {
    "ssim": "recsim_gen.metrics.ssim:SSIM",
    "ssim_history": "recsim_gen.metrics.ssim:SSIMHistory",
    "lpips": "recsim_gen.metrics.lpips:LPIPS",
    "lpips_history": "recsim_gen.metrics.lpips:LPIPSHistory",
    "st_lpips": "recsim_gen.metrics.st_lpips:STLPIPS",
    "st_lpips_history": "recsim_gen.metrics.st_lpips:STLPIPSHistory",
    "cps": "recsim_gen.metrics.clip_scores:CPS",
    "cpis": "recsim_gen.metrics.clip_scores:CPIS",
    "cs": "recsim_gen.metrics.clip_scores:CS",
    "cis": "recsim_gen.metrics.clip_scores:CIS",
    "aesthetic": "recsim_gen.metrics.aesthetic:Aesthetic",
    "aesthetic_v2": "recsim_gen.metrics.aesthetic:AestheticV2",
    "hpsv2": "recsim_gen.metrics.preference:HPSv20",
    "hpsv2.1": "recsim_gen.metrics.preference:HPSv21",
    "verifier": "recsim_gen.metrics.taste_verifier.metric:Verifier",
    "diversity": "recsim_gen.metrics.diversity:Diversity",
    "cmmd": "recsim_gen.metrics.distribution:CMMD",
    "frechet": "recsim_gen.metrics.distribution:Frechet",
    "oracle_utility": "recsim_gen.metrics.oracle:OracleUtility",
    "category_kept": "recsim_gen.metrics.looks:CategoryKept",
}
"""Metrics of generated images; a name may have a backbone and a recipe, ``cps[boutique-clip]:x100``."""


GENERATORS = {
    "original": "generators.original:Original",
    "placebo": "generators.placebo:Placebo",
    "oracle": "generators.oracle:Oracle",
    "oracle_sd": "generators.oracle:OracleSD",
    "glide": "generators.glide:GLIDE",
    "sd": "generators.sd:StableDiffusion",
    "textual_inversion": "generators.textual_inversion:TextualInversion",
    "lavit": "generators.lavit.generator:LaVIT",
    "ip_adapter": "generators.ip_adapter:IPAdapter",
    "pmg": "generators.pmg:PMG",
    "keywords": "generators.ragar.keywords:KeywordsAlone",
    "ragar": "generators.ragar:RAGAR",
    "ragar_taste": "generators.ragar.generator:RAGARTaste",
    "ragar_dpo": "generators.ragar.generator:RAGARDPO",
    "edit": "generators.editing.img2img:Edit",
    "instruct_edit": "generators.editing.instruct:InstructEdit",
    "pipeline": "generators.pipeline:Pipeline",
}

SUBJECT_GENERATORS = {
    "dreambooth": "generators.subjects.dreambooth:DreamBooth",
    "dreambooth_lora": "generators.subjects.dreambooth:DreamBoothLoRA",
    "ip_adapter": "generators.subjects.ip_adapter:SubjectIPAdapter",
    "ip_adapter_plus": "generators.subjects.ip_adapter:SubjectIPAdapterPlus",
    "kontext": "generators.subjects.kontext:Kontext",
    "diptych": "generators.subjects.diptych:Diptych",
    "ominicontrol": "generators.subjects.ominicontrol:OminiControl",
}
"""Subject-driven methods for `identity`; this `ip_adapter` is not the generator of the same name."""


EXPLAINERS = {
    "keywords": "recsim_gen.experiments.explanations.explainers:KeywordExplainer",
    "counted": "recsim_gen.experiments.explanations.explainers:CountExplainer",
    "taste": "recsim_gen.experiments.explanations.explainers:TasteExplainer",
    "chat": "recsim_gen.experiments.explanations.chat:ChatExplainer",
}
"""Methods that explain why a person would like an item."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``' Did you mean X?'`` if a similar name exists, else ""."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``' Did you mean X?'`` if a similar name exists, followed by all known names."""
    known = list(known)
    return f"{nearest(name, known)} Known: {', '.join(known)}."


def resolve(name: str, table: Mapping[str, str], what: str) -> Any:
    """Import and return the object that ``name`` refers to.

    Parameters
    ----------
    name
        Key of ``table``, or a ``module:Class`` string, so that user-defined classes work without
        registration.
    table
        {name: "module:Class"}.
    what
        What the table holds, for messages.

    Raises
    ------
    SettingError
        If the name is unknown or the module or class does not exist.
    """
    target = table.get(name, name if ":" in name else None)
    if target is None:
        raise SettingError(f"unknown {what} {name!r}.{did_you_mean(name, table)}")
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        raise SettingError(f"{what} {name!r}: no module {module!r}") from error
    except AttributeError as error:
        raise SettingError(f"{what} {name!r}: {module!r} has no {attribute!r}") from error


def with_settings(config: type[Any], settings: Mapping[str, Any]) -> Any:
    """Return an instance of the dataclass ``config`` with these settings.

    Raises SettingError for an unknown key, with a suggestion, and for a value of the wrong type if the field
    is a Literal, bool, int, float or str.
    """
    known = [f.name for f in dataclasses.fields(config)]
    hints = get_type_hints(config)
    for key, value in settings.items():
        if key not in known:
            raise SettingError(f"unknown setting {key!r} of {config.__name__}.{did_you_mean(key, known)}")
        if not _fits(value, hints[key]):
            type_name = getattr(hints[key], "__name__", "")
            if choices := _choices(hints[key]):
                type_name = f"one of {', '.join(map(str, choices))}"
            raise SettingError(f"setting {key!r} of {config.__name__} must be {type_name}, got {value!r}")
    return config(**settings)


def _choices(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) is Literal else ()


def _fits(value: Any, hint: Any) -> bool:
    if choices := _choices(hint):
        return value in choices
    if isinstance(value, bool):  # bool is a subclass of int
        return hint not in (int, float, str)
    kind: Any = {bool: bool, int: Integral, float: Real, str: str}.get(hint, object)
    return isinstance(value, kind)
