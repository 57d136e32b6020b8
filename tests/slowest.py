"""Prints the slowest tests of a JUnit report: `python tests/slowest.py REPORT [COUNT]`. Uses the standard library only."""

import sys
import xml.etree.ElementTree as ElementTree


def slowest(report: str, count: int) -> list[tuple[float, str]]:
    """The slowest tests, slowest first: seconds and name."""
    cases = ElementTree.parse(report).getroot().iter("testcase")
    return sorted(((float(case.get("time", 0)), f"{case.get('classname')} {case.get('name')}") for case in cases), reverse=True)[:count]


if __name__ == "__main__":
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    print(f"The {count} slowest tests:")
    for seconds, name in slowest(sys.argv[1], count):
        print(f"{seconds:8.2f} s  {name}")
