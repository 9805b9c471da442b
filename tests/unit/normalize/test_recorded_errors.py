"""The 78 error messages that were really seen, by hand: category and family of each.

The messages are reference data beside the project and are not part of it; without them this file is skipped.
"""

import pytest

from pipeline.normalize.step_errors import read_error
from schemas.vocabulary import RETRYABLE
from tests.support.paths import REFERENCE

RECORDED = REFERENCE / "errors.tsv"

pytestmark = pytest.mark.skipif(
    not RECORDED.is_file(),
    reason="needs the recorded errors, reference/errors.tsv in a folder `shared` beside the project",
)

CATEGORIES = {
    "server": [*range(1, 8), 25, *range(31, 37), 71, 72],
    "rate_limit": [8, 9, *range(43, 62), 75, 76, 77, 78],
    "quota": [10, 11, 74],
    "invalid_request": [12, 13, 14, 23, 24, *range(37, 43), 63, 64, 65, 67, 68, 69, 70, 73],
    "tool": [15, 16, 17, 19, 20, 21, 22, 28, 29],
    "auth": [18, 27, 66],
    "content_filter": [30, 62],
    "unknown": [26],
}
"""Category to the numbers of the messages, the first being 1."""

FAMILIES = [
    [1, 2, 3, 4],
    [8, 9, 56, 57, 78],
    [10, 11, 74],
    [15, 16],
    [25, 31, 32, 33, 34, 35, 71],
    [37, 38, 39, 40],
    [43, 44],
    [45, 46, 47],
    [48, 49],
]
"""Messages of one fault; every message that is not named is a fault of its own."""


def recorded():
    lines = RECORDED.read_text(encoding="utf-8").splitlines()[1:]
    return [[field.replace("\\n", "\n") for field in line.split("\t")[:2]] for line in lines]


def read(number):
    code, message = recorded()[number - 1]
    return read_error({"code": code, "message": message}, "failed", 8_192)


def test_every_message_has_a_hand_written_category():
    assert sorted(number for numbers in CATEGORIES.values() for number in numbers) == list(range(1, 79))
    assert len(recorded()) == 78


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_category(category):
    found = {number: (read(number).category, read(number).retryable) for number in CATEGORIES[category]}
    assert found == dict.fromkeys(found, (category, RETRYABLE.get(category)))


def test_one_fingerprint_a_family():
    fingerprints = {number: read(number).fingerprint for number in range(1, 79)}
    alone = [[number] for number in fingerprints if not any(number in family for family in FAMILIES)]
    found = [{fingerprints[number] for number in family} for family in FAMILIES + alone]
    assert [len(family) for family in found] == [1] * len(found)
    assert len(set.union(*found)) == len(found)


def test_no_address_is_kept():
    assert all("@" not in read(number).message for number in range(1, 79))


def test_codes_are_kept_as_sent():
    assert [read(number).code for number in range(1, 79)] == [code for code, _ in recorded()]
