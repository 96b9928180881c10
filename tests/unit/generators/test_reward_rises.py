"""The shipped family's `ragar_taste`: what its policy expects of the judge rises in training."""

import pytest
from reward_rises import rises


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_reward_rises_in_each_of_five_trainings_and_more_than_without_its_meaning():
    table = rises(30, range(5), latents=1)
    rise = table.pivot(index="seed", columns="kind", values="reward")
    assert (rise["reward"] > 0).all()
    assert (rise["reward"] > rise["shuffled"]).all()
    assert (rise["none"] == 0).all()
