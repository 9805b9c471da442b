"""Several workers seen as one daemon: what `runstep run --workers N` runs.

`supervisor` starts them, restarts them and ends them; `child` is one of them, seen from outside; `overview` is what all
of them together answer to Prometheus and to probes. What happens inside a worker is in `pipeline.workers.process`.
"""

from pipeline.workers.supervisor import Supervisor

__all__ = ("Supervisor",)
