"""Lists of prompts: ten each, with a place for the subject, and a file of one's own."""

import pytest

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.datasets.boutique.attributes import COLOURS, PATTERNS
from recsim_gen.experiments.subjects.prompts import PROMPTS, SHOP, read_prompts


@pytest.mark.parametrize("name", PROMPTS)
def test_there_are_ten_with_a_place_for_the_subject(name):
    prompts = read_prompts(name)
    assert len(set(prompts)) == 10
    assert all("x y" in prompt.format(subject="x y") for prompt in prompts)


def test_the_shops_tell_nothing_of_a_design():
    words = {word.strip(".,:") for prompt in SHOP for word in prompt.lower().split()}
    assert not words & {*COLOURS, *PATTERNS}


def test_a_file_has_one_a_line(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("a {subject} at sea\n\n  {subject} indoors \n")
    assert read_prompts(str(file)) == ("a {subject} at sea", "{subject} indoors")
    for text, message in (
        ("a dog", r"mine\.txt, row 1: a prompt with \{subject\} in it"),
        ("{subject} in {place}", r"a prompt with \{subject\} in it"),
        ("\n", "prompts are wanted, one a line, got none"),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=message):
            read_prompts(str(file))
    with pytest.raises(
        SettingError, match=r"--prompts must be a list or a file, got 'shopp'.*Did you mean 'shop'"
    ):
        read_prompts("shopp")
