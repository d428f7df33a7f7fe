"""The pages' Python blocks, run as one program a page, print the text blocks that follow them."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"(?:^<!-- file: (\S+) -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize("page", ["any-model.md", "budgets.md", "compression.md", "statistics.md"])
def test_python_blocks_print_what_the_page_shows(page: str, tmp_path: Path) -> None:
    program, shown, last = [], "", ""
    for file, language, text in BLOCK.findall((DOCS / page).read_text()):
        if file:
            (tmp_path / file).write_text(text)
        elif language == "python":
            program.append(text)
        elif language == "text" and last == "python":
            shown += text
        last = language
    assert program
    assert shown
    alone = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    here = os.pathsep.join(filter(None, [str(DOCS.parent), os.environ.get("PYTHONPATH")]))
    ran = subprocess.run(
        [sys.executable, "-c", "\n".join(program)],
        cwd=tmp_path,
        env=os.environ | alone | {"PYTHONPATH": here, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert [line.rstrip() for line in ran.stdout.splitlines()] == [line.rstrip() for line in shown.splitlines()]
