"""Ways to thaw a table, tried on two stock subjects and on ours; `table` writes docs/thawing.md."""
