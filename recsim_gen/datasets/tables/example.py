"""A small example folder for ``csv:DIR``, with a description of its columns."""

from __future__ import annotations

from pathlib import Path

from recsim_gen.core.store import atomic
from recsim_gen.datasets.boutique.world import load
from recsim_gen.datasets.files.image_files import write_images

N_ITEMS, N_USERS = 90, 30

README = """\
An example of data that recsim-gen reads as --data csv:DIR. Put your own rows and pictures in their place.
Tables are UTF-8 with a header line, parted by commas, semicolons or tabs. Common other names of columns are
known (product_id, name, timestamp, rating, ...); say others: --data-settings.user_column NAME.

items.csv: an item a row
  id        required, stands once; text, so that 007 stays 007
  title     optional: what it is called
  category  optional: its kind
  caption   optional: what its picture shows; without it title and category stand for it
  image     optional: file of its picture, relative to this folder; without the column images/<id>.jpg
  others    left aside; --data-settings.words NAME,NAME adds them to captions made of title and category

interactions.csv: a choice a row
  user      required
  item      required: an id of items.csv
  time      optional: a number, or a date like 2024-01-31 18:05; without it the order of the rows counts
  weight    optional: rating or count; rows of 0 or less are no choices (--data-settings.min_weight 4)
  split     optional: train, valid, test; without it the last choice of each user is test, the one before
            valid (or --data-settings.split by-ratio, by-time, by-user)

images/: optional; JPEG, PNG, WebP, GIF or BMP. images.tar, images.tar.gz or images.zip will do, and several
of them, images_1.tar, images_2.tar.

Check the folder with
  python -m recsim_gen.data check csv:DIR
"""


def write_example(folder: str | Path) -> None:
    """Write a shop of `N_ITEMS` drawn items and `N_USERS` people, with a README, atomically."""
    import pandas as pd

    shop = load(n_items=N_ITEMS, n_users=N_USERS)
    catalog, chosen = shop.catalog, shop.interactions
    with atomic(folder) as place:
        place.mkdir(parents=True)
        (place / "README.txt").write_text(README, encoding="utf-8")
        items = {"id": catalog.item_ids, "title": catalog.titles, "category": catalog.categories}
        pd.DataFrame(items).to_csv(place / "items.csv", index=False)
        days = pd.Timestamp("2024-01-01") + pd.to_timedelta(chosen.time, unit="D")
        log = {
            "user": chosen.user_ids[chosen.user],
            "item": catalog.item_ids[chosen.item],
            "time": days.strftime("%Y-%m-%d"),
        }
        pd.DataFrame(log).to_csv(place / "interactions.csv", index=False)
        write_images(catalog.images, dict(enumerate(catalog.item_ids.tolist())), place / "images")
