"""Count a JUnit report (ctest's or pytest's): prints "PASSED FAILED SKIPPED".

    tally.py REPORT STATUS      STATUS is what the runner exited with

A ctest entry is a program of many cmocka tests; its output says how many. No report, or a runner that failed without a
failed test, is one failure.
"""
import re
import sys
import xml.etree.ElementTree as ET

PASSED = re.compile(r"^\[  PASSED  \] (\d+) test\(s\)", re.M)
FAILED = re.compile(r"^\[  FAILED  \] (?:tests: )?(\d+) test\(s\)", re.M)
SKIPPED = re.compile(r"^\[  SKIPPED \] (?:tests: )?(\d+) test\(s\)", re.M)


def count_case(case):
    """(passed, failed, skipped) of one <testcase>."""
    bad = case.find("failure") is not None or case.find("error") is not None
    if case.find("skipped") is not None:
        return 0, 0, 1
    output = case.findtext("system-out") or ""
    numbers = [sum(map(int, pattern.findall(output))) for pattern in (PASSED, FAILED, SKIPPED)]
    if not any(numbers):
        return int(not bad), int(bad), 0
    if bad and numbers[1] == 0:  # it died after its tests: a sanitizer's report, a leak
        numbers[1] = 1
    return tuple(numbers)


def main():
    report, status = sys.argv[1], int(sys.argv[2])
    passed = failed = skipped = 0
    try:
        for case in ET.parse(report).getroot().iter("testcase"):
            p, f, s = count_case(case)
            passed, failed, skipped = passed + p, failed + f, skipped + s
    except (OSError, ET.ParseError) as error:
        print(f"tally: {report}: {error}", file=sys.stderr)
        status = status or 1
    if status and not failed:
        failed = 1
    print(passed, failed, skipped)


main()
