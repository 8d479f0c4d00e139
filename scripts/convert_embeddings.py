"""Convert an embedding file: `convert_embeddings.py SRC DST` is `embedfreeze convert SRC DST`."""

import sys

from embedfreeze.cli import main

sys.exit(main(["convert", *sys.argv[1:]]))
