"""When rejections are too many for single records to be at fault."""

import re
from dataclasses import replace
from unittest.mock import patch

import pytest
from typer.testing import CliRunner

from pipeline.commands._dlq_options import origins
from pipeline.commands.dlq import dlq
from pipeline.daemon.batch import Assignment, Part
from pipeline.daemon.rejection_limits import HALVED_AFTER_RECORDS, MIN_RECORDS_FOR_RATIO, RejectionLimits
from pipeline.errors import ConfigError
from pipeline.records import InvalidRecord, Partition, Reason, Stage
from pipeline.tools.dlq import Origins
from tests.support.fakes.kafka import FakeRecord
from tests.support.fakes.rows import normalized, step_row


def noted(max_consecutive: int, max_ratio: float, *parts: tuple[int, int, int]) -> RejectionLimits:
    limits = RejectionLimits(max_consecutive, max_ratio)
    for records, rejected, last in parts:
        limits.note(records, [Reason.INVALID_JSON] * rejected, last)
    return limits


def seen(limits: RejectionLimits) -> str:
    """Return what a limit was exceeded by."""
    excess = limits.excess()
    return "" if excess is None else excess.seen


def part_of(records: int, steps: int = 1) -> Part:
    part = Part(Assignment(Partition("run-steps", 0)))
    for offset in range(records):
        record = FakeRecord("run-steps", 0, offset, 1_000, b"k", b"v")
        rows = [step_row(offset, step_index=index) for index in range(steps)]
        part.extend(normalized(rows, [record] * steps))
    return part


def test_rejected_in_a_row_add_up_over_slices_and_end_with_a_good_one() -> None:
    limits = noted(1_000, 1, (500, 500, 500), (500, 500, 500))
    assert limits.in_a_row == 1_000
    assert limits.excess() is None
    limits.note(1, [Reason.MISSING_RUN_ID], 1)
    assert seen(limits) == "1,001 records in a row were rejected: invalid_json 1,000, missing_run_id 1"
    limits.note(10, [Reason.TOO_DEEP, Reason.NOT_UTF8, Reason.NOT_UTF8], 2)
    assert (limits.in_a_row, limits.reasons_in_a_row) == (2, {Reason.NOT_UTF8: 2})
    limits.note(10, [Reason.TOO_DEEP] * 4, 0)
    assert (limits.in_a_row, limits.reasons_in_a_row) == (0, {})
    limits.note(5, [Reason.TOO_DEEP], 1)
    limits.note(5, [], 0)
    assert (limits.in_a_row, limits.reasons_in_a_row) == (0, {})


def test_the_share_is_given_with_the_reasons_of_all_that_count_the_most_frequent_first() -> None:
    limits = RejectionLimits(0, 0.5)
    limits.note(1_000, [Reason.TOO_DEEP] * 60 + [Reason.INVALID_JSON] * 540, 0)
    assert seen(limits) == "60% of the latest 1,000 records were rejected: invalid_json 540, too_deep 60"
    for _ in range(20):
        limits.note(1_000, [Reason.MISSING_RUN_ID] * 600, 0)
    assert "missing_run_id" in seen(limits)
    assert round(sum(limits.reasons.values())) == round(limits.rejected)


def test_a_copy_shares_no_count() -> None:
    limits = noted(10, 1, (5, 5, 5))
    replace(limits).note(5, [Reason.TOO_DEEP] * 5, 5)
    assert (limits.in_a_row, limits.reasons_in_a_row, limits.reasons) == (5, *[{Reason.INVALID_JSON: 5}] * 2)


def test_a_cause_names_the_command_that_shows_the_records_and_the_setting_to_raise() -> None:
    excess = noted(100, 1, (101, 101, 101)).excess()
    assert excess is not None
    cause = excess.cause(Partition("agent.run-steps_1", 12), "the latest at offset 7, with: it is no JSON")
    (command,) = re.findall(r"`runstep (.*?)`", cause)
    with patch("pipeline.commands.dlq.settings_from_context", side_effect=ConfigError("read")) as read:
        result = CliRunner().invoke(dlq, command.split()[1:])
    assert (command.split()[0], read.called, type(result.exception)) == ("dlq", True, ConfigError)
    assert origins(command.split()[-1]) == Origins("agent.run-steps_1", 12)
    assert cause.endswith("or raise dead_letter.max_consecutive (now 100; 0 is no limit)")
    excess = noted(0, 0.5, (1_000, 1_000, 0)).excess()
    assert excess is not None
    assert excess.setting == "dead_letter.max_ratio (now 0.5; 1 is no limit)"


def test_no_limit_in_a_row() -> None:
    assert noted(0, 1, (10**6, 10**6, 10**6)).excess() is None


def test_the_ratio_counts_from_enough_records_on() -> None:
    assert noted(0, 0.5, (MIN_RECORDS_FOR_RATIO - 1, MIN_RECORDS_FOR_RATIO - 1, 0)).excess() is None
    more_than_half = noted(0, 0.5, (MIN_RECORDS_FOR_RATIO, MIN_RECORDS_FOR_RATIO // 100 * 51, 0))
    assert seen(more_than_half) == "51% of the latest 1,000 records were rejected: invalid_json 510"
    assert noted(0, 0.5, (MIN_RECORDS_FOR_RATIO, MIN_RECORDS_FOR_RATIO // 2, 0)).excess() is None


@pytest.mark.parametrize("slice_", [500, 100_000])
def test_what_was_long_ago_fades(slice_: int) -> None:
    limits = noted(0, 0.5, *[(slice_, 0, 0)] * (100_000 // slice_))
    assert limits.records <= HALVED_AFTER_RECORDS
    for _ in range(HALVED_AFTER_RECORDS // 500):
        limits.note(500, [Reason.INVALID_JSON] * 400, 0)
    assert limits.excess() is not None


def test_rows_rejected_by_the_sink_are_counted_by_their_records_up_to_where_one_has_looked() -> None:
    limits = RejectionLimits()
    assert part_of(10, steps=3).count_rejected(limits, [3, 4, 5, 24, 26], 27) is None
    assert (limits.records, limits.rejected, limits.in_a_row) == (9, 2, 1)
    part_of(1).count_rejected(limits, [0], 1)
    assert limits.in_a_row == 2
    part_of(5, steps=2).count_rejected(limits, [], 10)
    assert (limits.records, limits.rejected, limits.in_a_row) == (15, 3, 0)


def test_rows_rejected_before_are_known_by_their_dead_letters_and_what_never_reached_the_sink_is_left_out() -> None:
    part, limits = part_of(6), RejectionLimits()
    part.reject(1, "why")
    part.dead_letters.append(InvalidRecord(part.records[2], Stage.DECODE, Reason.INVALID_JSON, "why"))
    part.count_rejected(limits, [3], 4)
    assert (limits.records, limits.rejected, limits.in_a_row) == (3, 2, 2)
    part.dead_letters.pop(0)
    part.count_rejected(limits, [], 6)
    assert (limits.records, limits.rejected, limits.in_a_row) == (8, 2, 0)


def test_a_run_in_the_middle_is_seen() -> None:
    excess = part_of(100).count_rejected(RejectionLimits(2), [50, 51, 52], 100)
    assert excess is not None
    assert excess.seen == "3 records in a row were rejected: refused_by_sink 3"
    assert part_of(100).count_rejected(RejectionLimits(3), [50, 51, 52], 100) is None
