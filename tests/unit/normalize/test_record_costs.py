"""No record of any shape takes more memory than is said of one, while it is read."""

import subprocess
import sys

from pipeline.normalize.normalize import Rules
from tests.support.paths import ROOT
from tests.support.record_costs import SHAPES, SIZES, Cost

OF_A_BYTE = 35
OF_A_NODE = 500
RESERVE = 12_000_000
"""What any record may take, however small: the allocator asks the kernel for whole pages and arenas."""
MOST = 200_000_000
"""What README and the deployments count with for one record."""


def test_no_shape_of_a_record_takes_more_memory_than_its_bytes_and_nodes_may() -> None:
    command = [sys.executable, "-m", "tests.support.record_costs"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    costs = [
        Cost(shape, int(size), int(peak), verdict) for shape, size, peak, verdict in (x.split("\t") for x in lines)
    ]
    assert len(costs) == len(SHAPES) * len(SIZES)
    nodes = Rules().max_event_nodes
    over = [cost for cost in costs if cost.peak > RESERVE + OF_A_BYTE * cost.size + OF_A_NODE * min(cost.size, nodes)]
    assert not over, over
    assert max(cost.peak for cost in costs) < MOST
