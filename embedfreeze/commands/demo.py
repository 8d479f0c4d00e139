"""`embedfreeze demo`: the main job on the bundled sample."""

from __future__ import annotations

import argparse
import os

__all__ = ["add_options"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--data", default="data", help="folder of the bundled sample")
    parser.add_argument("--epochs", type=int, default=20)
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start is chatty
    from embedfreeze.demo import run

    run(options.data, epochs=options.epochs)
