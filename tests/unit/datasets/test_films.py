"""Words about films."""

import numpy as np

from recsim_gen.datasets.films import decades


def test_the_decade_is_that_of_the_year_at_the_end():
    titles = ["Heat (1995)", "2001: A Space Odyssey (1968)", "Untitled", "Death Note (2006–2007) ", "1984"]
    assert decades(np.array(titles)).tolist() == ["1990s", "1960s", "", "2000s", ""]
    assert decades(np.array([], dtype=str)).shape == (0,)
