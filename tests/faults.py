"""Which check finds each wrong loss of tests/losses: run whole checks, and write it down.

make faults runs it: half an hour. The tests then run one check for each. It ends with code 1 where no check
finds a loss.
"""

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from losses.faults import FAULTS
from test_check_faults import FOUND_BY, LIBRARIES, find, findings, report


def found_by(name: str) -> list[str]:
    """Return the checks that find a loss, in their order."""
    return list(findings(report(find(name))))


def main() -> int:
    """Check all losses of the installed libraries, or those that are named; write the first check of each."""
    named = sys.argv[1:]
    for library in filter(find_spec, LIBRARIES):
        find(LIBRARIES[library][0])
    names = sorted(each.name for each in FAULTS if each.name in named or not named)
    table = json.loads(FOUND_BY.read_text(encoding="utf-8"))
    with ProcessPoolExecutor(2) as pool:
        for name, found in zip(names, pool.map(found_by, names), strict=True):
            print(name, ", ".join(found) or "IS FOUND BY NO CHECK", flush=True)
            table[name] = found[0] if found else None
    Path(FOUND_BY).write_text(json.dumps(dict(sorted(table.items())), indent=1) + "\n", encoding="utf-8")
    return int(any(table[name] is None for name in names))


if __name__ == "__main__":
    sys.exit(main())
