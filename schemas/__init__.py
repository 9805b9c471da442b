"""What crosses the pipeline's borders: wire models, the storage row, the ClickHouse DDL.

Imports pydantic and the standard library only, never `pipeline`.
"""
