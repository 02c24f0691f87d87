"""The example of the README works as printed, except for the service's address."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from somabrain_client import MemoryClient, RecallResult
from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import ServiceProcess

README = Path(__file__).parents[4] / "README.md"
ADDRESS = "dns:///quickstart-headless.demo:50052"


async def test_readme_example_works(brain: ServiceProcess, idp: Issuer, tmp_path: Path) -> None:
    (shown,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert ADDRESS in shown
    token = tmp_path / "token"
    token.write_text(idp.token("readme"))
    names: dict[str, object] = {"MemoryClient": MemoryClient}
    program = textwrap.indent(shown.replace(ADDRESS, brain.address), "    ")
    exec(f"async def converse(path):\n{program}\n    return answer", names)
    converse = names["converse"]
    assert callable(converse)
    answer: RecallResult = await converse(token)
    (hit,) = answer.hits
    assert hit.memory.text == "Alice prefers green tea in the morning."
    assert hit.memory.session == "monday"
    assert hit.breakdown is not None
