-- What everybody reads: the current row of every step, without the rows it replaced.
--
-- A step never leaves its month, so parts of different months need not be merged to read (1277 -> 168 ms for a day). Skip
-- indexes are off with FINAL on servers before 25; both are said here, where no session can forget them.
-- DEFINER: a reader needs SELECT on this view only.
CREATE VIEW IF NOT EXISTS ${database}.run_steps_current${on_cluster}
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT *
FROM ${database}.run_steps FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1, use_skip_indexes_if_final = 1;
