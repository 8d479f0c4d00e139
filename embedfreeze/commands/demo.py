"""`embedfreeze demo`: the main job on the bundled sample."""

from __future__ import annotations

import argparse
import os
import sys

from embedfreeze.commands.arguments import positive
from embedfreeze.commands.parsing import describe
from embedfreeze.commands.terminal import without_noise

__all__ = ["add_options"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    describe(
        parser,
        "Load, freeze, train, prove, save and reload on the bundled real sample.",
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
    parser.add_argument("--classify", metavar="MODEL", help=argparse.SUPPRESS)
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start is chatty
    with without_noise():
        from embedfreeze.backend import tf
        from embedfreeze.demo import classify, run

        tf.config.list_logical_devices()  # it says what it thinks of the machine

    if options.classify is not None:
        classify(options.classify, sys.stdin)
    else:
        run(options.data, epochs=options.epochs)
