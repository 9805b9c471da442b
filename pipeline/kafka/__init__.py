"""Everything of the daemon that speaks to Kafka.

source/             the consumer: a member of the group, for the daemon
record_batches      the decoder of record batches, twice as fast as the client's own
dead_letters        the producer of dead-letter records
log_reader          reads parts of the log outside of any group, for commands
topics              which topics there are, and creating those that are missing
client              options and connection of every client
causes              why a connection failed, read from kafka-python's log
internals           what reaches into kafka-python's private parts, with a self-test ...
connection_internals  ... for the state of connections ...
decoder_internals   ... and for what the faster decoder builds on, which the daemon can do without
"""
