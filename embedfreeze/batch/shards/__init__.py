"""Shards, the files of features that batch jobs write: a table of formats, and the two verbs."""

from embedfreeze.batch.shards.table import SHARD_FORMATS
from embedfreeze.batch.shards.verbs import (
    OpenedShard,
    ShardWriter,
    open_shard,
    read_shard,
    shard_files,
    shard_format,
    shard_writer,
)

__all__ = [
    "SHARD_FORMATS",
    "OpenedShard",
    "ShardWriter",
    "open_shard",
    "read_shard",
    "shard_files",
    "shard_format",
    "shard_writer",
]
