"""Kill the embedded engine many times at random moments of random loads and transforms, and report what was lost or done twice.

python bench/engine_kills.py [--kills 200] [--seed 1] [--keep FOLDER]
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "engine"))

from kills import kill_often


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", help="folder to work in, which is kept")
    options = parser.parse_args()
    root = Path(options.keep or tempfile.mkdtemp(prefix="engine-kills-"))
    root.mkdir(parents=True, exist_ok=True)
    began = time.time()
    found = kill_often(root, options.kills, options.seed)
    inside = ", ".join(f"{kind} {count}" for kind, count in found.inside.most_common())
    print(f"seed {options.seed}: {found.kills} kills in {time.time() - began:.0f} s, {sum(found.inside.values())} inside a step ({inside})")
    print(f"{found.files} files, {found.commands} steps; problems: {len(found.problems)}")
    for problem in found.problems:
        print(f"  {problem}")
    if not options.keep:
        shutil.rmtree(root, ignore_errors=True)
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
