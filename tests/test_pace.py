"""The pace of calls: what keeps the evaluators busy is under way, and no more."""

from evolve.pace import Pace


def measured(service_s: float, latency_s: float, capacity: int) -> tuple[Pace, float]:
    """A pace that has seen some candidates, one after the other, and the time then."""
    pace, at = Pace(), 0.0
    for number in range(30):
        pace.asked(number, at)
        at += latency_s
        pace.answered(number, at)
        pace.begun(at, capacity)
        at += service_s
        pace.ended(at, capacity)
    return pace, at


def most(pace: Pace, at: float, capacity: int, first: int = 1000) -> int:
    """Calls that are made at one moment, numbered from `first`."""
    count = 0
    while pace.due(at, capacity) and count < 1000:
        pace.asked(first + count, at)
        count += 1
    return count


def test_a_model_that_answers_at_once_is_asked_as_many_times_as_there_are_evaluators_and_once_more() -> None:
    pace, at = measured(0.5, 0.0, 2)
    assert most(pace, at, 2) == 3


def test_a_slow_model_is_asked_as_often_as_its_answers_are_used_up() -> None:
    pace, at = measured(0.5, 10.1, 2)
    assert (
        most(pace, at, 2) == 2 + 1 + 51
    )  # 40.4 are used up in that time, and a quarter more if it goes well


def test_what_is_evaluated_counts_as_under_way() -> None:
    pace, at = measured(0.5, 0.0, 2)
    pace.begun(at, 2)
    pace.begun(at, 2)
    assert most(pace, at, 2) == 1


def test_a_call_that_is_waited_for_longer_than_usual_makes_room_for_more() -> None:
    pace, at = measured(0.5, 0.0, 2)
    before = most(pace, at, 2)
    assert not pace.due(at, 2)
    assert most(pace, at + 5.1, 2, 2000) == 2 + 1 + 26 - before


def test_while_nothing_is_known_of_the_evaluators_nothing_is_held_back() -> None:
    assert most(Pace(), 0.0, 2) == 1000


def test_evaluators_that_had_to_start_first_hold_nothing_back() -> None:
    pace, at = Pace(), 0.0
    for number in range(12):
        assert pace.due(at, 2)
        pace.begun(at, 2)
        at += 60.0 if number < 2 else 0.01
        pace.ended(at, 2)
    pace.asked(1, at)
    pace.answered(1, at + 1.0)
    assert most(pace, at + 1.0, 2) == 2 + 1 + 250


def test_evaluators_side_by_side_share_the_time() -> None:
    pace, at = Pace(), 0.0
    for _ in range(4):
        pace.begun(at, 4)
    for _ in range(60):  # all four at work, 2 s for each candidate, so one ends every 0.5 s
        at += 0.5
        pace.ended(at, 4)
        pace.begun(at, 4)
    pace.asked(1, at)
    pace.answered(1, at + 10.1)
    # four are under way, and in 10.1 s they use up 20.2 more, or a quarter more than that
    assert most(pace, at + 10.1, 4) == 1 + 26
