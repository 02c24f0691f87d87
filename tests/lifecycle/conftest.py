"""The local cluster, as its administrator."""

from __future__ import annotations

import pytest

from examples.kubectl import Kubectl


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    return Kubectl.of_local_cluster()
