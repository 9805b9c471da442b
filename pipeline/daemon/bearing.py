"""Whether a partition has so many refused rows that it is no longer the rows' fault. Pure.

Records that became dead letters before they reached the sink are the owner's to judge, and left out here.
"""

from collections.abc import Iterable
from itertools import compress, groupby
from typing import Final

from pipeline.daemon.batch import Part
from pipeline.daemon.rejection_limits import Refusals
from pipeline.records import Stage
from schemas.row import INDEX

_STEP_INDEX: Final = INDEX["step_index"]


def take_in(refusals: Refusals, part: Part, guilty: Iterable[int], stop: int) -> str | None:
    """Take a part's records into an account of refusals; return which limit that passes, None if none.

    Args:
        refusals: changed in place.
        part: rows that the sink refused before are known by their dead letters.
        guilty: more rows that it refused.
        stop: row of the part from which on nothing is known yet.
    """
    refused, earlier = {id(part.records[row]) for row in guilty}, set[int]()
    for dead_letter in part.dead_letters:
        (refused if dead_letter.stage is Stage.SINK else earlier).add(id(dead_letter.record))
    if not refused:
        refusals.note(part.columns[_STEP_INDEX].count(0) - len(earlier), 0, 0)
        return None
    excess = None
    firsts = compress(part.records[:stop], (index == 0 for index in part.columns[_STEP_INDEX]))
    for is_refused, run in groupby(id(record) in refused for record in firsts if id(record) not in earlier):
        records = sum(1 for _ in run)
        refusals.note(records, records * is_refused, records * is_refused)
        excess = excess or refusals.excess()
    return excess
