"""Reports refuse seeds that training or tuning may have seen."""

import pytest

from undrift.agents.evaluation.seeds import REPORTS_FROM, TRAINING, TUNING, check_report_seeds, check_training_seed


def test_the_ranges_are_apart():
    assert TRAINING[-1] < TUNING[0] and TUNING[-1] < REPORTS_FROM
    assert (TRAINING[0], TRAINING[-1], TUNING[0], TUNING[-1], REPORTS_FROM) == (0, 99, 1000, 1999, 10_000)


@pytest.mark.parametrize("seed", [-1, 0, 99, 1000, 1999, 5000, 9999])
def test_a_report_of_any_other_seed_is_refused_by_name(seed):
    with pytest.raises(ValueError, match=f"episode seed {seed}: .*tuning 1000 to 1999, reports those from 10000 on"):
        check_report_seeds([10_000, seed])


def test_a_report_takes_its_own_seeds():
    check_report_seeds([10_000, 30_019, 10**9])


@pytest.mark.parametrize("seed", [-1, 100, 1000, 10_000])
def test_training_takes_its_own_seeds_only(seed):
    check_training_seed(0)
    check_training_seed(99)
    with pytest.raises(ValueError, match=f"training seed {seed}: training has the seeds 0 to 99"):
        check_training_seed(seed)
