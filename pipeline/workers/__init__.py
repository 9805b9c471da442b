"""Several worker processes that answer as one daemon: what `runstep run --workers N` runs.

`supervisor` starts, restarts and ends them; `child` is one of them, seen from outside; `overview` merges what they
answer to Prometheus and to probes; `process` is what runs inside a worker. It is run with `python -m`, so this file
imports nothing.
"""
