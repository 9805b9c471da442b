"""Everything that speaks to Kafka; nothing else imports kafka-python, but for the simulator's producer."""
