"""`make bench-peers`: the daemon beside other ways to bring the same topic into the same ClickHouse.

traffic       the records of the two topics, and how a topic is filled
load          the producer of a steady load, a process of its own
systems       what is compared: how each is started, ended, and what its tables hold
engine        the tables of ClickHouse's Kafka engine
environments  the environments of the systems that are Python packages of others
gauges        CPU and memory of processes, members of a group, the state of the server
watching      a system at work: which rows are visible when
rates         a backlog, read to its last row
latency       from the producer to a query, at half of what the system can do
faults        a poison record, an outage of ClickHouse, a kill
results       what was measured, its medians, and the tables
"""
