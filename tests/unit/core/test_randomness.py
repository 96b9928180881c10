"""Named streams: what they depend on and what not."""

import os
import subprocess
import sys

import numpy as np
import torch

from recsim_gen.core.randomness import Rng


def test_a_stream_depends_on_seed_and_names_alone():
    one = Rng(3).for_("noise", "e1")
    Rng(3).for_("other").numpy().random(100)
    again = Rng(3).for_("noise").for_("e1")
    assert one == again
    assert np.array_equal(one.numpy().random(5), again.numpy().random(5))
    assert np.array_equal(one.numpy().random(5), one.numpy().random(5))  # always from the start
    assert torch.equal(torch.rand(5, generator=one.torch()), torch.rand(5, generator=again.torch()))
    assert one.integer() == again.integer()


def test_streams_of_other_names_differ():
    streams = [Rng(0), Rng(1), Rng(0).for_("a"), Rng(0).for_("b"), Rng(0).for_("a", "b"), Rng(0).for_("ab")]
    streams += [Rng(0).for_(1), Rng(0).for_("1"), Rng(0).for_("b", "a"), Rng(10), Rng(1).for_("0")]
    assert len({s.entropy() for s in streams}) == len(streams)
    assert len({s.integer() for s in streams}) == len(streams)
    assert all(0 <= s.integer() < 2**31 for s in streams)


def test_numpys_scalars_are_names_like_pythons():
    assert Rng(0).for_(np.int64(4), np.str_("e")) == Rng(0).for_(4, "e")
    assert Rng(0).for_(np.array([7])[0]).entropy() == Rng(0).for_(7).entropy()


def test_streams_of_neighbouring_names_are_unrelated():
    draws = np.stack([Rng(0).for_("e", i).numpy().standard_normal(500) for i in range(40)])
    off_diagonal = np.corrcoef(draws)[~np.eye(40, dtype=bool)]
    assert abs(off_diagonal).max() < 0.25
    assert abs(draws.mean()) < 0.03


def test_a_stream_is_the_same_in_another_process():
    code = "from recsim_gen.core.randomness import Rng; print(Rng(5).for_('x', 2).entropy())"
    environment = {**os.environ, "PYTHONHASHSEED": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert int(done.stdout) == Rng(5).for_("x", 2).entropy()
