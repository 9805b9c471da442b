-- The column of 0014, in the table that carries the name that daemons use.
ALTER TABLE ${database}.run_step_ingest${on_cluster} ADD COLUMN IF NOT EXISTS is_superseded Bool;
