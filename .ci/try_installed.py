"""Tries an installed Elman, perhaps in an empty environment: its library, and a first reply.

It is run away from the repository, so that nothing is found there but what was installed.
"""

import subprocess
import sys
import tempfile

LIBRARY = (
    "from elman.native.library import load; found, why = load(); print(why); assert found, why"
)


def run(*arguments: str, said: str = "") -> str:
    """Run this Python in an empty folder; return what it prints."""
    with tempfile.TemporaryDirectory() as folder:
        ran = subprocess.run(
            [sys.executable, *arguments], input=said, cwd=folder, stdout=subprocess.PIPE, text=True
        )
    if ran.returncode:
        sys.exit(f"{arguments} ended with {ran.returncode}")
    return ran.stdout.strip()


print(run("-c", LIBRARY))
print(run("-m", "elman", "--version"))
answers = run("-m", "elman", "chat", said="hello\nhow are you?\n").splitlines()
print(*answers, sep="\n")
if len(answers) != 2 or not all(answers):
    sys.exit("two lines were said to the base, and two answers were expected")
