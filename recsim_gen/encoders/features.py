"""Features of a catalogue: encoders named by a string, computed in shards, cached by content."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.progress import bar
from recsim_gen.core.registry import ENCODERS, MODALITIES, did_you_mean, resolve
from recsim_gen.core.specs import check_encoder
from recsim_gen.core.store import cache_dir, cached_array, fingerprint
from recsim_gen.core.types import Catalog, Dataset, ImageReader
from recsim_gen.core.vectors import MappedRows, write_mapped

SHARD = 2048  # items per file, the most that a killed run loses
MAPPED_FROM = 250_000  # items: 1,280 features of each are 1.3 GB in float32


def make_encoder(spec: str, device: str = "cpu") -> Any:
    """Return the encoder that ``spec`` names: ``name``, ``name:argument`` or ``module:Class``.

    Names are those of ``registry.ENCODERS``: ``pixels``, ``words``, ``minilm``, ``efficientnet-lite0``,
    ``efficientnet-lite2``, ``open_clip:MODEL/WEIGHTS``, ``hf:NAME-OR-FOLDER``. An encoder has ``fingerprint``
    and ``encode_texts``, ``encode_images`` or both (see core.protocols). Raises SettingError for an unknown
    name or a missing argument, MissingDependency for missing packages or weights.
    """
    name, _, argument = spec.partition(":")
    if name not in ENCODERS:
        check_encoder(spec)
        return resolve(spec, ENCODERS, "encoder")(device=device)
    encoder = resolve(name, ENCODERS, "encoder")
    arguments = (argument,) if argument else ()
    try:
        inspect.signature(encoder).bind(*arguments, device=device)
    except TypeError as error:
        wanted = f"{name} alone" if argument else f"an argument, {name}:…"
        raise SettingError(f"encoder {name!r}: wanted {wanted}, got {spec!r}") from error
    return encoder(*arguments, device=device)


def encode(
    dataset: Dataset,
    encoders: Mapping[str, str] | None = None,
    *,
    batch_size: int = 64,
    device: str = "cpu",
    mapped_from: int = MAPPED_FROM,
) -> Catalog:
    """Return the catalogue with features (n, d) float32 of each modality in ``encoders``.

    An item without an image gets the mean feature of those that have one (see `without_image`). Features are
    cached in shards named by encoder and content: a killed run resumes, and nothing is encoded twice.

    Parameters
    ----------
    dataset
        Its catalogue is encoded: ``text`` is each item's caption (or its title if the caption is blank),
        ``image`` its image.
    encoders
        {modality: spec}, modality ``text`` or ``image``; None: those of the data set.
    batch_size
        Items encoded at once; the result does not depend on it.
    device
        Device of encoders with weights.
    mapped_from
        Number of items from which features stay in a file, as float16 (`MappedRows`); 0: never.

    Returns
    -------
    Catalog
        The catalogue with features.

    Raises
    ------
    DataError
        For an item without any text, an image that cannot be decoded, or a catalogue without images.
    SettingError
        For an unknown modality or an encoder of another modality.
    """
    catalog = dataset.catalog
    for modality, spec in (dataset.encoders if encoders is None else encoders).items():
        if modality not in MODALITIES:
            raise SettingError(f"unknown modality {modality!r}.{did_you_mean(modality, MODALITIES)}")
        encoder = make_encoder(spec, device)
        if not hasattr(encoder, f"encode_{modality}s"):
            raise SettingError(f"modality {modality!r} wants an encoder of {modality}s, got {spec!r}")
        make = _texts if modality == "text" else _images
        title = f"{modality} features ({spec})"
        mapped = 0 < mapped_from <= len(catalog)
        x = make(catalog, encoder, batch_size, title, mapped)
        catalog = catalog.with_features(modality, None, x, encoder=spec)
    return catalog


def without_image(catalog: Catalog) -> str | None:
    """Return a sentence on the items whose image feature is the mean of the others'; None if there are none.

    Their rows are ``np.flatnonzero(~catalog.images.present)``.
    """
    if catalog.images is None or catalog.images.present.all():
        return None
    return f"{int((~catalog.images.present).sum())} items without picture: mean image feature"


def item_texts(catalog: Catalog) -> np.ndarray:
    """Return (n,) str: the text of each item, its caption or else its title.

    Raises DataError for an item that has neither.
    """
    blank = np.char.str_len(np.char.strip(catalog.captions)) == 0
    texts = np.where(blank, catalog.titles, catalog.captions)
    empty = np.char.str_len(np.char.strip(texts)) == 0
    if empty.any():
        item = str(catalog.item_ids[empty.argmax()])
        raise DataError(
            f"item {item!r} has neither caption nor title, and {int(empty.sum()) - 1} others like it",
            remedy="Give it a title or a caption, or leave the item out",
        )
    return texts


def _texts(catalog: Catalog, encoder: Any, batch_size: int, title: str, mapped: bool) -> np.ndarray:
    texts = item_texts(catalog)

    def encode_reader(rows: np.ndarray) -> np.ndarray:
        return encoder.encode_texts(texts[rows].tolist())

    def name(rows: np.ndarray) -> str:
        return fingerprint(encoder.fingerprint, "text", texts[rows].tolist())

    everything = np.arange(len(catalog))
    if mapped:
        parts = shards(everything, encode_reader, name, batch_size, title)
        return _mapped(name(everything), len(catalog), parts)
    return in_shards(everything, encode_reader, name, batch_size, title)


def _images(catalog: Catalog, encoder: Any, batch_size: int, title: str, mapped: bool) -> np.ndarray:
    images = catalog.images
    if images is None or not images.present.any():
        raise DataError(
            "wanted pictures to encode, the catalogue has none",
            remedy="Leave out the modality 'image', or name a data set with pictures",
        )
    rows_with = np.flatnonzero(images.present)
    if mapped:
        parts = partial(_picture_shards, images, rows_with, encoder, batch_size, title)
        key = fingerprint(encoder.fingerprint, "image", images.fingerprint, rows_with, len(catalog))
        return _mapped(key, len(catalog), _filled(parts, rows_with, len(catalog)))
    x = _pictures(images, rows_with, encoder, batch_size, title)
    features = np.broadcast_to(x.mean(0, dtype=np.float64), (len(catalog), x.shape[1])).astype(np.float32)
    features[rows_with] = x
    return features


def _mapped(key: str, n: int, parts: Iterable[np.ndarray]) -> MappedRows:
    """Return the features (n, d) in the file of this ``key``; write it from ``parts`` if it is missing."""
    file = cache_dir() / "mapped" / f"{key}.npy"
    return MappedRows(file) if file.exists() else write_mapped(file, n, parts)


def _filled(parts: Callable[[], Iterable[np.ndarray]], rows: np.ndarray, n: int) -> Iterator[np.ndarray]:
    """Yield features of all n items in parts: ``parts`` at the increasing ``rows``, and their mean elsewhere.

    ``parts`` is called twice; the second time, it reads from disk.
    """
    mean = sum(part.sum(0, dtype=np.float64) for part in parts()) / len(rows)
    start, done = 0, 0
    for part in parts():
        at, done = rows[done : done + len(part)], done + len(part)
        stop = n if done == len(rows) else int(at[-1]) + 1
        features = np.broadcast_to(mean, (stop - start, part.shape[1])).astype(np.float32)
        features[at - start] = part
        yield features
        start = stop


def encode_reader(images: ImageReader, spec: str, *, batch_size: int = 64, device: str = "cpu") -> np.ndarray:
    """Return (k, d) float32 features of the rows of ``images`` that have an image, by the encoder ``spec``.

    They are computed and cached as in `encode`. Raises DataError for an image that cannot be decoded,
    SettingError for an encoder without ``encode_images``.
    """
    encoder = make_encoder(spec, device)
    if not hasattr(encoder, "encode_images"):
        raise SettingError(f"modality 'image' wants an encoder of images, got {spec!r}")
    title = f"image features ({spec})"
    return _pictures(images, np.flatnonzero(images.present), encoder, batch_size, title)


def _pictures(images: ImageReader, rows: np.ndarray, encoder: Any, batch_size: int, title: str) -> np.ndarray:
    return np.concatenate(list(_picture_shards(images, rows, encoder, batch_size, title)))


def _picture_shards(
    images: ImageReader, rows: np.ndarray, encoder: Any, batch_size: int, title: str
) -> Iterator[np.ndarray]:
    def encode_reader(part: np.ndarray) -> np.ndarray:
        return encoder.encode_images([images.read(row) for row in part.tolist()])

    def name(part: np.ndarray) -> str:
        return fingerprint(encoder.fingerprint, "image", images.fingerprint, part)

    return shards(rows, encode_reader, name, batch_size, title)


def in_shards(
    rows: np.ndarray,
    encode_reader: Callable[[np.ndarray], np.ndarray],
    name: Callable[[np.ndarray], str],
    batch_size: int,
    title: str,
) -> np.ndarray:
    """Return the features (len(rows), d) in memory, computed and cached as in `shards`."""
    return np.concatenate(list(shards(rows, encode_reader, name, batch_size, title)))


def shards(
    rows: np.ndarray,
    encode_reader: Callable[[np.ndarray], np.ndarray],
    name: Callable[[np.ndarray], str],
    batch_size: int,
    title: str,
) -> Iterator[np.ndarray]:
    """Yield the features of ``rows`` by shards, computed in batches, cached under ``name(shard's rows)``.

    ``title`` is the label of the progress bar.
    """

    def make(shard: np.ndarray, done: int) -> np.ndarray:
        batches = []
        for start in range(0, len(shard), batch_size):
            batch = shard[start : start + batch_size]
            batches.append(_checked(encode_reader(batch), len(batch)))
            shown.update(done + start + len(batch) - shown.n)
        return np.concatenate(batches)

    with bar(what=title, total=len(rows), unit="item") as shown:
        for done in range(0, len(rows), SHARD):
            shard = rows[done : done + SHARD]
            yield cached_array("features", name(shard), partial(make, shard, done))
            shown.update(done + len(shard) - shown.n)


def _checked(x: np.ndarray, n: int) -> np.ndarray:
    """Return an encoder's output as float32; raise DataError unless it is (n, d) and finite."""
    if x.ndim != 2 or len(x) != n or not np.isfinite(x).all():
        finite = "" if np.isfinite(x).all() else " with NaN or infinity"
        raise DataError(f"an encoder must give finite ({n}, d) features, got {x.shape}{finite}")
    return x.astype(np.float32, copy=False)
