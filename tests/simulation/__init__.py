"""Deterministic simulation: the real owner loop, writer, insertion and breaker on a fake Kafka and a fake ClickHouse.

One seed decides everything: who runs next, what time it is, what fails. `scheduler` owns time and turns, `plan` draws
what a seed suffers from, `broker`, `member` and `store` are the fakes, `process` is a daemon without threads, `world`
injects and lifts faults, `oracle` judges, `mutants` prove that it can fail. See `python -m tests.simulation --help`.
"""
