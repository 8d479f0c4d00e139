"""`embedfreeze verify`: every frozen byte of a saved model, or of a store, against its digest."""

from __future__ import annotations

import argparse

from embedfreeze.commands.arguments import add_json
from embedfreeze.commands.parsing import describe, options_of
from embedfreeze.commands.terminal import show
from embedfreeze.errors import FrozenBytesChanged
from embedfreeze.proof import FreezeProof

__all__ = ["add_options"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    describe(
        parser,
        "Hash every frozen byte of a saved model or a store: status 6 if one changed.",
        "verify model.keras",
        "verify model.weights.h5 --table table.safetensors --json",
        "verify table.safetensors",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a .keras or .weights.h5 file, the folder of a SavedModel, or a store",
    )
    where = options_of(parser, "where the tables of a model are")
    where.add_argument(
        "--table", metavar="STORE", action="append", default=[], help="take this one for its table"
    )
    where.add_argument(
        "--search",
        metavar="FOLDER",
        action="append",
        default=[],
        help="look for its tables here, too; both may be given several times",
    )
    add_json(parser)
    parser.set_defaults(run=_verify)


def _verify(options: argparse.Namespace) -> None:
    try:
        proof = _proof(options)
    except FrozenBytesChanged as error:
        places = {name: getattr(error, name) for name in ("layer", "row", "token", "block")}
        options.found = {"verified": False, "model": options.model, "problem": str(error), **places}
        raise
    show(options, proof, {"verified": True, **proof.to_dict()})


def _proof(options: argparse.Namespace) -> FreezeProof:
    from embedfreeze.savedmodels import verify_saved  # with all that reads models

    return verify_saved(options.model, table=options.table or None, search=options.search)
