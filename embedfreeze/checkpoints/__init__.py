"""Checkpoints of TensorFlow, read without TensorFlow: where a variable lies in which file."""

from embedfreeze.checkpoints.bundle import Bundle, Stored
from embedfreeze.checkpoints.sortedtable import MAGIC

__all__ = ["MAGIC", "Bundle", "Stored"]
