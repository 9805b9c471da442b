"""What `runstep demo` needs beyond its command line.

`directory` keeps the data, `embedded_broker` is the Kafka, `traffic_process` produces in a process of its own,
`daemon_process` runs the real daemon in a thread, `progress` shows how far both are, `summary` shows the results, and
`reconciliation` compares the ledger with Kafka.
"""
