"""Runs the checks of one group, each in a directory of its own; prints one JSON line for each.

    python3 run.py GROUP DIRECTORY [CHECK...]

A check passes when it returns, and fails with what it says. On a local disk all pass, which is how they are tested;
those of what casfs decides itself (names that are not UTF-8) excepted.
"""

import importlib
import json
import os
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True


def main(group, directory, wanted):
    module = importlib.import_module(group)
    for name in [name for name in vars(module) if name.startswith("check_")]:
        title = name.removeprefix("check_").replace("_", " ")
        if wanted and title not in wanted and name not in wanted:
            continue
        place = os.path.join(directory, f"{group}-{name.removeprefix('check_')}"[:200])
        os.mkdir(place)
        os.chmod(place, 0o755)
        os.chdir(place)
        began = time.monotonic()
        try:
            getattr(module, name)()
            problem = None
        except BaseException as error:
            line = traceback.extract_tb(error.__traceback__)[1].lineno
            problem = f"line {line}: {type(error).__name__}: {error}"
        took = round(time.monotonic() - began, 3)
        print(json.dumps({"check": title, "problem": problem, "seconds": took}), flush=True)
        os.chdir("/")


main(sys.argv[1], sys.argv[2], sys.argv[3:])
