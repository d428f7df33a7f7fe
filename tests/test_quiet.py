"""What Ray writes goes to a file, what we write to the user, whatever thread, process or library it comes from."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

PROGRAM = """
    import os, subprocess, sys, threading, warnings
    from pathlib import Path
    from precsearch.study.cluster.quiet import noise_to
    print("before")
    with noise_to(Path(sys.argv[1])):
        kept = sys.stdout, sys.stderr
        print("out of ours")
        print("err of ours", file=sys.stderr)
        thread = threading.Thread(target=lambda: print("out of tune"))
        thread.start()
        thread.join()
        os.write(1, b"out of core\\n")
        os.write(2, b"err of core\\n")
        subprocess.run(["sh", "-c", "echo out of child; echo err of child >&2"])
    print("after", file=kept[0])
    print("err after", file=kept[1])
    os.write(1, b"descriptor after\\n")
"""


def test_noise_and_words_are_parted(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path / "noise")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert sorted(ran.stdout.splitlines()) == ["after", "before", "descriptor after", "out of ours"]
    assert ran.stderr.splitlines() == ["err of ours", "err after"]
    noise = (tmp_path / "noise").read_text().splitlines()
    assert sorted(noise) == ["err of child", "err of core", "out of child", "out of core", "out of tune"]
