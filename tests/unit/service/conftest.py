"""Property tests have no deadline: a slow run on a busy machine is not a counterexample."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
