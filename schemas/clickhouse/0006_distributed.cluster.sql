-- On a cluster the tables of 0002 to 0004 are the shards' own and end in _local; these carry the names that everybody
-- uses. The daemon inserts into run_step_ingest on any host; the server splits the batch, hands the token on, and the
-- views of each shard do the rest there.
--
-- By step key, so that all rows of a step meet on one shard. By Kafka partition FINAL would show a step twice whose
-- events came through two partitions. The ledger's rows follow their steps, so a partition's account lies on all shards:
-- it is read through run_step_ledger only.
CREATE TABLE IF NOT EXISTS ${database}.run_step_ingest${on_cluster}
AS ${database}.run_step_ingest_local
ENGINE = Distributed('${cluster}', '${database}', 'run_step_ingest_local', cityHash64(thread_id, run_id, step_id));

-- The same key, so that the server can send a query for one step to its shard alone.
CREATE TABLE IF NOT EXISTS ${database}.run_steps${on_cluster}
AS ${database}.run_steps_local
ENGINE = Distributed('${cluster}', '${database}', 'run_steps_local', cityHash64(thread_id, run_id, step_id));

CREATE TABLE IF NOT EXISTS ${database}.run_step_ledger${on_cluster}
AS ${database}.run_step_ledger_local
ENGINE = Distributed('${cluster}', '${database}', 'run_step_ledger_local', cityHash64(thread_id, run_id, step_id));
