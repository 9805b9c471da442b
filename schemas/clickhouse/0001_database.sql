-- The database and the book of what was applied to it. The book is kept on each host, never replicated: a row says what
-- this host has, and a new replica starts with an empty one.
CREATE DATABASE IF NOT EXISTS ${database}${on_cluster};

-- ReplacingMergeTree, so that two migrations at the same time leave one row a version.
CREATE TABLE IF NOT EXISTS ${database}.schema_migrations${on_cluster}
(
    version         UInt32,
    name            String,
    checksum        String,
    variant         LowCardinality(String),
    runstep_version LowCardinality(String),
    applied_at      DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY version;
