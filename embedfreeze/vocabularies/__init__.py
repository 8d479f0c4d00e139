"""Where vocabularies come from and go to: maps of ids, lists in files, layers, tokenizers."""
