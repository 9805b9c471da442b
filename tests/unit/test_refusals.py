"""When refusals are too many to be the records' fault."""

from pipeline.refusals import FEWEST, WINDOW, Refusals


def noted(*parts: tuple[int, int, int]) -> Refusals:
    refusals = Refusals()
    for part in parts:
        refusals.note(*part)
    return refusals


def test_refused_in_a_row_add_up_over_slices_and_end_with_a_good_one() -> None:
    refusals = noted((500, 500, 500), (500, 500, 500))
    assert refusals.in_a_row == 1_000
    assert refusals.excess(1_000, 1) is None
    refusals.note(1, 1, 1)
    assert "1001 records in a row" in (refusals.excess(1_000, 1) or "")
    refusals.note(10, 4, 4)
    assert refusals.in_a_row == 4
    refusals.note(10, 4, 0)
    assert refusals.in_a_row == 0


def test_no_limit_in_a_row() -> None:
    assert noted((10**6, 10**6, 10**6)).excess(0, 1) is None


def test_the_share_counts_from_enough_records_on() -> None:
    assert noted((FEWEST - 1, FEWEST - 1, 0)).excess(0, 0.5) is None
    assert "51% of the latest records" in (noted((FEWEST, FEWEST // 100 * 51, 0)).excess(0, 0.5) or "")
    assert noted((FEWEST, FEWEST // 2, 0)).excess(0, 0.5) is None


def test_what_was_long_ago_fades() -> None:
    refusals = noted(*[(500, 0, 0)] * 200)
    assert refusals.records <= WINDOW
    for _ in range(WINDOW // 500):
        refusals.note(500, 400, 0)
    assert refusals.excess(0, 0.5) is not None
