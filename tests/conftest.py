"""How property tests run: the same few examples each time, or many new ones by hand.

`HYPOTHESIS_PROFILE=thorough make test` draws new examples until each test has seen 5,000.
"""

import os

from hypothesis import settings

# Nothing is timed (other work shares the machine) and nothing is remembered between runs, so that
# a commit passes or fails alike everywhere.
settings.register_profile("fast", max_examples=100, deadline=None, derandomize=True, database=None)
settings.register_profile("thorough", max_examples=5000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
