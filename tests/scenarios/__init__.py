"""The failure scenarios on real servers: what is broken, what must hold meanwhile, and who judges.

Each test is named after the number of its scenario and is written in three lines of `tests.support.scenario`: let
the daemon work, break something, judge. The judge holds each run against the same nine statements, as far as they apply
to it:

1 nothing is lost, 2 nothing is seen twice, 3 both tables say what the model says, 4 each record of each partition has
one outcome, 5 what is committed is in the ledger, also in the middle of the fault, 6 memory stays bounded, 7 readiness
names the cause while there is one and liveness does not waver, 8 it recovers by itself after the fault, 9 the log
quotes no record and no secret.

`make chaos` runs all of it; tests without the marker `chaos` are quick and run with every `make test`.
"""
