#!/usr/bin/env python3
"""Prints the results of the Autobahn test suite and sets the exit code, because wstest always exits with 0.

    summary.py REPORTS

Reads REPORTS/index.json. A case must pass twice, in what it did (`behavior`) and in how it closed
(`behaviorClose`): some show a fault only in the second.
"""

import collections
import json
import pathlib
import sys

# NON-STRICT does not count as passed: the RFC tolerates it, such as invalid UTF-8 that is detected late.
PASSED = {"OK", "INFORMATIONAL"}


def main():
    reports = pathlib.Path(sys.argv[1])
    agents = json.loads((reports / "index.json").read_text())
    cases = {case: result for results in agents.values() for case, result in results.items()}
    if not cases:
        print("no case was run: could the server be reached?")
        return 1

    for kind in "behavior", "behaviorClose":
        counts = collections.Counter(result[kind] for result in cases.values())
        print(f"{kind}: " + ", ".join(f"{count} {result}" for result, count in counts.most_common()))

    failed = 0
    for case in sorted(cases, key=lambda case: [int(number) for number in case.split(".")]):
        results = cases[case]["behavior"], cases[case]["behaviorClose"]
        if not set(results) <= PASSED:
            failed += 1
            print(f"  FAILED {case}: {' / '.join(results)}, closed with {cases[case]['remoteCloseCode']}; see {reports / cases[case]['reportfile']}")
        elif set(results) != {"OK"}:
            print(f"  note   {case}: {' / '.join(results)}")
    print(f"{len(cases) - failed} of {len(cases)} cases passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
