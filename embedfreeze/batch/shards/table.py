"""The table of the formats of shards, by name."""

from embedfreeze.batch.shards.base import ShardFormat
from embedfreeze.batch.shards.hdf5 import HDF5
from embedfreeze.batch.shards.npy import NPY
from embedfreeze.batch.shards.npz import NPZ
from embedfreeze.batch.shards.parquet import PARQUET
from embedfreeze.batch.shards.tfrecord import TFRECORD

__all__ = ["SHARD_FORMATS"]

SHARD_FORMATS: dict[str, ShardFormat] = {
    "npy": NPY,
    "npz": NPZ,
    "parquet": PARQUET,
    "tfrecord": TFRECORD,
    "hdf5": HDF5,
}
