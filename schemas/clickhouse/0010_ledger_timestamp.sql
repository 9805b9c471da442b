-- A look at the latest records, whatever their partition. The key leads with the offset, so each such question read the
-- whole ledger. Offsets and timestamps grow together, so that the bounds of a few thousand rows tell nearly all of the
-- others apart. The timestamp is part of the key, so all rows of a record have the same, and FINAL may use the index.
ALTER TABLE ${database}.run_step_ledger${local}${on_cluster} ADD INDEX IF NOT EXISTS ix_timestamp
kafka_timestamp TYPE minmax GRANULARITY 1;

-- For what is there already, in the background.
ALTER TABLE ${database}.run_step_ledger${local}${on_cluster} MATERIALIZE INDEX ix_timestamp;
