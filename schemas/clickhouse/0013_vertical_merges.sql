-- Merges column by column. By default that is for large parts and wide tables only; small merges read and wrote all columns of
-- a row at once, which cost 1.5 to 1.9 of the 8.7 us of server CPU that an event took. A replica keeps such settings for
-- itself, so each host has to be migrated, as ever.
ALTER TABLE ${database}.run_steps${local}${on_cluster} MODIFY SETTING
vertical_merge_algorithm_min_rows_to_activate = 1,
vertical_merge_algorithm_min_bytes_to_activate = 0,
vertical_merge_algorithm_min_columns_to_activate = 5;

ALTER TABLE ${database}.run_step_ledger${local}${on_cluster} MODIFY SETTING
vertical_merge_algorithm_min_rows_to_activate = 1,
vertical_merge_algorithm_min_bytes_to_activate = 0,
vertical_merge_algorithm_min_columns_to_activate = 5;
