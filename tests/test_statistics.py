import numpy as np
import pytest

from evolve.statistics import bootstrap_mean, clearly_worse, paired_bootstrap, student_quantile


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(300):
        interval = bootstrap_mean(rng.normal(2.0, 1.0, 60), 0.95, 500, trial)
        hits += interval.low <= 2.0 <= interval.high
    assert 0.90 <= hits / 300 <= 0.99


def test_equal_scores_have_no_difference() -> None:
    interval = paired_bootstrap([0.1, 0.5, 0.9], [0.1, 0.5, 0.9])
    assert (interval.mean, interval.low, interval.high) == (0.0, 0.0, 0.0)


def test_a_small_constant_gain_is_seen_through_large_differences_between_instances() -> None:
    theirs = np.random.default_rng(0).random(50)
    assert paired_bootstrap(theirs + 0.001, theirs).low > 0


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).random(50)
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)


def test_student_quantiles_agree_with_the_tables() -> None:
    for confidence, freedom, expected in [
        (0.95, 7, 1.8946),
        (0.95, 23, 1.7139),
        (0.99, 9, 2.8214),
        (0.975, 39, 2.0227),
    ]:
        assert student_quantile(confidence, freedom) == pytest.approx(expected, rel=0.01)


def test_a_race_is_lost_only_when_the_difference_is_clear() -> None:
    bar = [0.9, 0.8, 0.95, 0.7, 0.85, 0.9, 0.6, 0.9]
    assert clearly_worse([value - 0.1 for value in bar], bar, 0.95)
    assert not clearly_worse(bar, bar, 0.95)
    assert not clearly_worse([value + 0.1 for value in bar], bar, 0.95)
    assert not clearly_worse([bar[0] - 1, *bar[1:]], bar, 0.95)


def test_instances_of_a_family_count_once() -> None:
    """Repeating every value three times says nothing new; without families the interval would shrink."""
    values = np.random.default_rng(0).random(40)
    thrice, names = np.repeat(values, 3), [str(each) for each in np.repeat(np.arange(40), 3)]
    once, family = bootstrap_mean(values), bootstrap_mean(thrice, families=names)
    assert family.mean == pytest.approx(once.mean)
    assert family.high - family.low == pytest.approx(once.high - once.low, rel=0.1)
    naive = bootstrap_mean(thrice)
    assert naive.high - naive.low < 0.7 * (family.high - family.low)


def test_without_relatives_families_change_nothing_but_the_draws() -> None:
    values = np.random.default_rng(0).random(40)
    assert bootstrap_mean(values, families=[""] * 40) == bootstrap_mean(values)
    apart = bootstrap_mean(values, families=["a", "a", *[""] * 38])
    assert apart.mean == pytest.approx(values.mean())
    assert apart.low < apart.mean < apart.high
