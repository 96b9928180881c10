"""Mistakes on the command line: each is told in one clear last line, before any work, with what to do."""

import importlib
import resource
import shlex
import shutil

import pytest
import toy_shop
from command_line import start

from recsim_gen.core.config import run

ACTIONS = {"data": ("check", "show", "convert", "new"), "human_study": ("export", "score")}

MISTAKES = {
    # names
    "train_ranker --ranker micr": "unknown ranker 'micr'. Did you mean 'micro'?",
    "train_ranker --ranker micro:published": "unknown recipe 'published' of micro. Did you mean",
    "train_ranker --ranker nowhere:Mine": "unknown ranker 'nowhere'",
    "train_ranker --data boutik": "unknown data 'boutik'. Did you mean 'boutique'?",
    "train_ranker --encoders.image pixel": "unknown encoder 'pixel'. Did you mean 'pixels'?",
    "train_ranker --encoders.picture pixels": "unknown modality 'picture'. Known: text, image.",
    "train_ranker --masked test": "each of --masked must be one of train, valid, got 'test'",
    "train_ranker --rankers micro": "unknown option --rankers. Did you mean '--ranker'?",
    "evaluate --gen sdd": "unknown generator 'sdd'. Did you mean 'sd'?",
    "evaluate --gen sd --baseline none": "--baseline must be a row of the table, got 'none'",
    "evaluate --gen sd --metrics delta": "unknown metric or preset 'delta'. Did you mean 'delta_r'?",
    "evaluate --gen sd --metrics cps[clipp]": "unknown encoder 'clipp'",
    "evaluate --gen sd --metrics cps:x10": "cps has no recipe 'x10'",
    "evaluate --gen sd --judges mcro-seed0": "unknown ranker 'mcro'. Did you mean 'micro'?",
    "evaluate --gen sd --judges taste@boutique-clop-seed0": "unknown encoder 'boutique-clop'",
    "explain --methods tast": "unknown explainer 'tast'. Did you mean 'taste'?",
    "explain --methods taste --baseline keywords": "--baseline must be a row of the table, got 'keywords'",
    "generate --gen ip_adaptr": "unknown generator 'ip_adaptr'. Did you mean 'ip_adapter'?",
    "aux_rec --leakage loose": "each of --leakage must be one of strict, paper, got 'loose'",
    "simulate --arms orignal": "unknown generator 'orignal'. Did you mean 'original'?",
    "simulate --world nowhere:World": "world 'nowhere:World': no module 'nowhere'",
    "identity --gallery photos --encoder pixel": "unknown encoder 'pixel'. Did you mean 'pixels'?",
    "data convert --to exel": "unknown layout 'exel'",
    "data chek": "the first word must be an action, got 'chek'. Did you mean 'check'?",
    # numbers and types
    "train_ranker --ranker-settings.epochs ten": "--ranker-settings.epochs must be a whole number, got 'ten'",
    "train_ranker --ranker-settings.epochs 0": "epochs must be at least 1, got 0",
    "train_ranker --ranker-settings.embedding_sise 8": "unknown setting 'embedding_sise' of ranker micro",
    "train_ranker --data-settings.n_items few": "--data-settings.n_items must be a whole number, got 'few'",
    "train_ranker --data-settings.n_item 20": "unknown setting 'n_item' of data boutique",
    "train_ranker --trials 0": "--trials must be 1 or more, got 0",
    "train_ranker --seeds -1": "--seeds must be 0 or more, got -1",
    "train_ranker --for-reward --seeds 0": "--for-reward compares seeds: give at least 2 --seeds",
    "validate_assumptions --k 0": "k must be at least 1, got 0",
    "evaluate --gen sd --episodes -1": "--episodes must be 0 (all) or more, got -1",
    "evaluate --gen sd:steps=-1": "unknown setting 'steps' of generator sd",
    "evaluate --gen ragar:k=3.5": "setting 'k' of generator ragar must be a whole number, got '3.5'",
    "generate --gen sd --each 0": "each must be 1 or more and episodes 0 or more, got 0 and 0",
    "explain --attributes 0": "--attributes must be 1 or more, got 0",
    "aux_rec --fraction 2": "fraction must be above 0 and at most 1, got 2",
    "simulate --rounds 0": "rounds must be 1 or more, got 0",
    "simulate --trials 1": "trials must be 2 or more, got 1",
    "show --episodes 201": "a page has room for 1 to 200 episodes, got 201",
    "measure_family --prompts 1": "--prompts must be 2 or more, got 1",
    "pretrain --minutes 0": "--renders and --minutes must be above 0",
    # the same twice, or nothing
    "train_ranker --ranker micro micro": "--ranker: give each value once, got micro twice",
    "train_ranker --seeds 0 0": "--seeds: give each value once, got 0 twice",
    "evaluate --gen sd,sd": "each line of the table needs a name of its own, got sd twice",
    "explain --methods taste,counted taste": "--methods: give each value once, got taste twice",
    "judge --images photos": "give at least one of --judges",
    "judge --judges micro-seed0": "give --images: a folder or tar",
    "judge --images photos --judges micro-seed0 micro-seed0": "give each value once, got micro-seed0 twice",
    "generate": "give --gen or --checkpoint",
    "train_generator": "give --gen. Generators:",
    # what does not fit together
    "train_generator --gen sd": "sd has nothing to learn: draw with python -m recsim_gen.generate",
    "generate --gen ragar": "ragar has to be trained first: give --checkpoint",
    "evaluate --gen sd --judges micro-seed0 --reward sd=micro-seed0": "--reward METHOD=JUDGE",
    "evaluate --gen sd,ragar_taste --judges bpr-seed0": "give a judge that reports its uncertainty",
    "explain --methods chat": "chat asks through a chat template, which the language model of these models",
    "train_ranker --data boutique:empty": "data 'boutique' takes no path, got 'empty'. Write boutique",
    "train_ranker --data movielens": "data 'movielens' needs its folder, got none. Write movielens:PATH",
    # places and devices
    "train_ranker --data ./empty": "data must be NAME:DIR, got a folder without a name, './empty'",
    "train_ranker --data movielens:empty": "Does empty hold the data as published?",
    "train_ranker --data csv:nowhere": "nowhere: a folder is wanted, there is none",
    "data check csv:file.txt": "a folder is wanted, got a file",
    "train_ranker --device gpu": "--device must be auto, cpu, cuda or cuda:N, got 'gpu'",
    "train_ranker --output file.txt": "--output must be a folder to write in, got file.txt",
    "train_ranker --config nowhere.yaml": "--config nowhere.yaml: cannot be read",
    "train_ranker --config bad.yaml": "--config bad.yaml: cannot be read",
    "train_ranker --config typed.yaml": "typed.yaml: each of seeds must be a whole number, got 'x'",
    "train_ranker --tracking-uri ftp://x": "an MLflow store is sqlite:///FILE",
    "judge --images nowhere --judges micro-seed0": "a folder or tar of pictures is wanted, got nothing",
    "judge --images empty --judges micro-seed0": "empty",
    "judge --images photos --judges nowhere": "a judge is NAME-seedN (micro-seed0) or a folder",
    "judge --images photos --judges empty": "empty",
    "generate --checkpoint nowhere": "must be a trained generator, got no readable config.json",
    "generate --gen sd --models nowhere.yaml": "nowhere.yaml",
    "evaluate --gen sd --images mine=nowhere": "a folder or tar of pictures is wanted, got nothing",
    "aux_rec --placebo nowhere.tar": "a folder or tar of pictures is wanted, got nothing",
    "identity --gallery nowhere": "nowhere",
    "report --tracking-uri sqlite:///nowhere.db": "a store of runs is wanted, there is no nowhere.db",
    "human_study score nowhere.json": "the key of the study is missing",
    "caption --captioner nowhere": "nowhere",
}
"""Command line to a part of what is told."""

NEED_DATA = {
    "evaluate --data csv:shop --gen sd,placebo": "other real pictures of the items are wanted: set `images`",
    "evaluate --data csv:shop --gen sd,placebo:images=empty": "other pictures named <item id>.png are wanted",
    "evaluate --data csv:shop --gen sd --images mine=strangers": "unknown item 'cup'; the data has 36",
    "judge --data csv:shop --images strangers --judges micro-seed0": "unknown item 'cup'; the data has 36",
    "judge --data csv:shop --images photos --judges micro-seed0 --users nobody": "unknown user 'nobody'",
    "judge --images photos --judges micro-seed0 --candidates 0": "judging needs a seed, a candidate",
    "aux_rec --data csv:shop --gen sd --placebo strangers": "unknown item 'cup'; the data has 36",
    "aux_rec --data csv:shop --gen sd --world shown": "the preferences of the people of csv are unknown",
    "evaluate --data csv:shop --gen oracle,sd": "tastes must be known, those of real people are not",
    "evaluate --data csv:shop --gen sd --encoders.image none": "judges see items by an image encoder",
    "show --data csv:shop --gen oracle": "tastes must be known, those of real people are not",
    "aux_rec --data csv:shop --gen oracle_sd": "tastes must be known, those of real people are not",
    "simulate --data csv:shop --arms placebo": "the preferences of csv are unknown, so it has no world",
    "validate_assumptions --data csv:shop --k 30": "need histories of at least 2k = 60 items",
    "validate_assumptions --data csv:shop --encoders.text none": "retrieval compares texts",
    "explain --data csv:wordless": "those of csv tell ids and categories alone",
    "pretrain --data csv:nowhere": "a folder is wanted, there is none",
}
"""The same, of mistakes that the data alone can tell; it is told before they are encoded."""


def read(words):
    """The module of a command and its arguments."""
    name, *argv = shlex.split(words)
    return importlib.import_module(f"recsim_gen.{name}"), argv


@pytest.fixture
def here(apart, monkeypatch):
    """A folder with a few things in it that are not what is wanted."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (apart / "empty").mkdir()
    (apart / "file.txt").write_text("")
    (apart / "bad.yaml").write_text("a: [1\n")
    (apart / "typed.yaml").write_text("seeds: x\n")
    toy_shop.write_images(apart / "photos")
    (apart / "strangers").mkdir()
    shutil.copy(apart / "photos" / "mug1.png", apart / "strangers" / "cup.png")
    return apart


def told_at_once(words, part, capsys):
    """Run in this process: refused, in one last line that says ``part``, and nothing was begun."""
    module, argv = read(words)
    name = module.__name__.rpartition(".")[2]
    main = {action: getattr(module, action) for action in ACTIONS[name]} if name in ACTIONS else module.main
    assert run(main, argv) in (1, 2)
    said = capsys.readouterr()
    last = said.err.splitlines()[-1]
    assert last.startswith(("error: ", "not usable: "))
    assert part in last
    assert "Traceback" not in said.err
    return said


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_told_before_any_work(words, here, capsys):
    told_at_once(words, MISTAKES[words], capsys)
    assert not (here / "runs" / "mlflow.db").exists()
    assert not list((here.parent).glob("cache/*"))


@pytest.mark.parametrize("words", NEED_DATA)
def test_what_the_data_cannot_give_is_told_before_they_are_encoded(words, here, capsys):
    toy_shop.as_csv(here / "shop")
    toy_shop.write_table(toy_shop.as_csv(here / "wordless") / "items.csv", toy_shop.items_without_words())
    told_at_once(words, NEED_DATA[words], capsys)
    assert not (here.parent / "cache" / "features").exists()
    assert not (here.parent / "cache" / "rankers").exists()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_mistake_takes_no_three_seconds(here):
    """In processes of their own, by the processor's time; prints the table (``pytest -s``)."""
    toy_shop.as_csv(here / "shop")
    toy_shop.write_table(toy_shop.as_csv(here / "wordless") / "items.csv", toy_shop.items_without_words())
    slow = []
    for words in (*MISTAKES, *NEED_DATA):
        name, *argv = shlex.split(words)
        shutil.rmtree(here.parent / "cache", ignore_errors=True)
        code, last, seconds = timed(name, argv, here)
        print(f"| `{words}` | {code} | {last} | {seconds:.1f} |")
        assert code in (1, 2), words
        assert last.startswith(("error: ", "not usable: ")), words
        if words in MISTAKES and seconds > 3:
            slow.append((words, seconds))
    assert not slow


def timed(name, argv, here):
    """Exit code, last line and seconds of the processor of a command in a process of its own."""
    before = children()
    process = start(name, *argv, here=here, cache=here.parent / "cache")
    _, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    return process.returncode, err.strip().splitlines()[-1], children() - before


def children():
    """Seconds of the processor that ended children took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
