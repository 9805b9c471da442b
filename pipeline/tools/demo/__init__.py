"""What `runstep demo` needs beyond its command line.

`directory` keeps the data, `traffic` produces in a process of its own, `daemon` runs the real daemon in a thread,
`screen` shows how it goes, `report` asks the tables, `account` compares them with what Kafka holds.
"""
