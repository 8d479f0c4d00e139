"""`embedfreeze demo`: the main job on the bundled sample."""

from __future__ import annotations

import argparse
import os

from embedfreeze.commands.arguments import positive
from embedfreeze.commands.parsing import describe

__all__ = ["add_options"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    describe(
        parser,
        "Load, freeze, train, prove, save, reload and classify on the bundled real sample.",
        "demo",
        "demo --epochs 5 < sentences.txt",
    )
    parser.add_argument(
        "--data",
        default="data",
        metavar="FOLDER",
        help="of the bundled sample; default: data, as in a checkout",
    )
    parser.add_argument(
        "--epochs", type=positive, default=20, metavar="N", help="of each training; default: 20"
    )
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start is chatty
    from embedfreeze.demo import run

    run(options.data, epochs=options.epochs)
