"""``data check`` on a folder of each layout with one defect: the defect stands in its first five lines."""

import json
import shutil

import pytest
import toy_shop
from PIL import Image

from recsim_gen.core.config import run
from recsim_gen.data import check
from recsim_gen.datasets.opening import open_data
from recsim_gen.datasets.pmg_bench.movieposter_writer import write_pmg_movieposter
from recsim_gen.datasets.pmg_bench.pog_writer import write_pmg_pog
from recsim_gen.datasets.pmg_bench.ser30k_writer import write_pmg_ser30k
from recsim_gen.datasets.unified.writer import write_unified


def picture(file, shade):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 6), (shade % 256, shade // 256, 0)).save(file)


def written(write):
    """A writer of the toy shop in a layout of its own."""

    def make(folder):
        write(open_data(f"csv:{toy_shop.as_csv(folder.parent / 'toy')}"), folder)

    return make


def movielens(folder):
    """Twelve people with eight of forty films each, four weeks apart."""
    films = [f'{m},"Film, {m}",Drama|War' for m in range(1, 41)]
    pairs = [(u, k) for u in range(12) for k in range(8)]
    rated = [f"{u},{1 + (5 * u + 3 * k) % 40},4.0,{10**9 + 10**6 * k + u}" for u, k in pairs]
    folder.mkdir()
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *films]))
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rated]))
    for m in range(1, 41):
        picture(folder / "posters" / f"{m}.png", m)


def pog(folder):
    items = [f"{i:03d},{i % 4},//img/{i}.jpg,Coat {i}, long, warm" for i in range(40)]
    users = [f"u{u},{';'.join(f'{(u * 7 + k) % 40:03d}' for k in range(3 + u % 5))},o{u}" for u in range(12)]
    folder.mkdir()
    (folder / "item_data.txt").write_text("\n".join(items))
    (folder / "user_data.txt").write_text("\n".join(users))


def ser30k(folder):
    entries = [
        {"topic": f"t{t}", "file_name": f"{k}.png", "anno": 1 + k % 4, "text": ""}
        for t in range(6)
        for k in range(5)
    ]
    (folder / "Annotations" / "image-level").mkdir(parents=True)
    for number, name in enumerate(("train", "val", "test")):
        file = folder / "Annotations" / "image-level" / f"{name}.json"
        file.write_text(json.dumps({"annotations": entries[number::3]}))
    for shade, entry in enumerate(entries):
        picture(folder / "Images" / entry["topic"] / entry["file_name"], shade)


def flickr(folder):
    """Six workers rate ten of twelve photographs each."""
    rated = [f"W{w}, farm_{(w + k) % 12}_f.jpg, {3 + k % 3}" for w in range(6) for k in range(10)]
    folder.mkdir()
    header = "worker, imagePair, score"
    (folder / "FLICKR-AES_image_labeled_by_each_worker.csv").write_text("\n".join([header, *rated]))
    scores = "".join(f" farm_{i}_f.jpg 0.{i:02d}\n" for i in range(12))
    (folder / "FLICKR-AES_image_score.txt").write_text(scores)
    for i in range(12):
        picture(folder / "40K" / f"farm_{i}_f.jpg", i)


def gallery(folder):
    for number in range(24):
        picture(folder / f"dog{number % 4}" / f"{number}.png", number)


def reword(file, old, new):
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def zeros(folder):
    """Spreadsheets write them away in one table and not in the other."""
    table = folder / "interactions.csv"
    reword(table, "lamp0,", "0007,")
    reword(folder / "items.csv", "lamp0,", "7,")


def cut(file):
    file.write_bytes(file.read_bytes()[:50])


def renamed(folder):
    for file in sorted((folder / "posters").iterdir()):
        file.rename(file.with_stem(f"{int(file.stem):06d}"))


CASES = {
    "csv": (toy_shop.as_csv, zeros, "1 of them differ only by zeros in front: '0007' here, '7' there"),
    "recbole": (
        toy_shop.as_recbole,
        lambda shop: reword(shop / "shop.inter", "\tlamp0\t", "\tLAMP0\t"),
        "differ only by capitals: 'LAMP0' here, 'lamp0' there",
    ),
    "hf": (
        toy_shop.as_parquet,
        lambda shop: (shop / "items.parquet").unlink(),
        "a table of items is wanted: looked for items.parquet",
    ),
    "movielens": (movielens, renamed, "no item has a picture: 40 pictures are of none, such as '000001'"),
    "unified": (
        written(write_unified),
        lambda shop: cut(sorted((shop / "images").iterdir())[0]),
        "1 pictures cannot be decoded, first ",
    ),
    "pog": (
        pog,
        lambda shop: reword(shop / "user_data.txt", "u4,028;", "u4,28;"),
        "items that item_data.txt does not list left out; 1 of them differ only by zeros in front: '28' here",
    ),
    "ser30k": (
        ser30k,
        lambda shop: (shop / "Images" / "t3" / "2.png").unlink(),
        "1 stickers without picture",
    ),
    "flickr-aes": (
        flickr,
        lambda shop: (shop / "40K" / "farm_3_f.jpg").unlink(),
        "1 photographs without picture",
    ),
    "pmg-movieposter": (
        written(write_pmg_movieposter),
        lambda shop: reword(shop / "info.csv", "Red lamp no. 0", "LÃ¡mpara roja"),
        "text of another encoding, by item: ",
    ),
    "pmg-pog": (
        written(write_pmg_pog),
        lambda shop: reword(shop / "item_data.csv", "mug1,", "Mug1,"),
        "of them differ only by capitals: 'mug1' here, 'Mug1' there",
    ),
    "pmg-ser30k": (
        written(write_pmg_ser30k),
        lambda shop: shutil.copy(shop / "images/mug/mug1.png", shop / "images/mug/mug4.png"),
        "byte-identical pictures: mug/mug1.png = mug/mug4.png",
    ),
    "gallery": (
        gallery,
        lambda shop: shutil.copy(shop / "dog1/1.png", shop / "dog1/5.png"),
        "byte-identical pictures: ",
    ),
}
"""Layout: what writes a folder, what spoils it, and what is told."""

CUT = ("movielens", "flickr-aes", "pmg-movieposter")
"""Layouts whose people are cut into sequences."""


@pytest.mark.parametrize("layout", CASES)
def test_the_defect_stands_in_the_first_five_lines(layout, apart, capsys):
    write, spoil, told = CASES[layout]
    write(apart / "shop")
    argv = [f"{layout}:shop", "--tracking-uri", "sqlite:////dev/null/x.db"]  # to make one takes seconds
    argv += ["--data-settings.sequence_length", "5"] if layout in CUT else []
    run({"check": check}, ["check", *argv])
    whole = first_lines(capsys)
    spoil(apart / "shop")
    run({"check": check}, ["check", *argv])
    assert told in first_lines(capsys)
    assert told not in whole


def first_lines(capsys):
    """The last line on standard error, where a refusal stands, and the first five of what is printed."""
    said = capsys.readouterr()
    return "\n".join([*said.err.splitlines()[-1:], *said.out.splitlines()[:5]])
