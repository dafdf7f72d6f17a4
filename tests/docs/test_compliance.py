"""docs/compliance.md: each article of the laws it is about has a row, and each test it names is there."""
import re

import pytest

from guide import DOCS
from tresor_client import ROOT

ARTICLES = {"FADP": [*range(5, 10), 12, *range(16, 20), *range(24, 33)],
            "DPO": [*range(1, 7), *range(15, 23)],
            "GDPR": [5, 6, 7, 9, *range(12, 23), 25, 28, 30, 32, 33, 34]}


def rows(law):
    """[(articles, what, feature, tests)] of the law's table."""
    [section] = re.findall(rf"^## {law}\b.*?$(.*?)(?=^## |\Z)", (DOCS / "compliance.md").read_text(encoding="utf-8"), re.M | re.S)
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if line.startswith("| ")]
    return cells[2:]  # without the head


@pytest.mark.parametrize("law", ARTICLES)
def test_every_article_has_a_row(law):
    named = {int(n) for row in rows(law) for n in re.findall(r"(?:^|, )(\d+)", row[0])}
    assert named == set(ARTICLES[law])


@pytest.mark.parametrize("law", ARTICLES)
def test_every_row_has_its_tests_or_says_whose_duty_it_is(law):
    for article, _, feature, tests in rows(law):
        if tests.rstrip(" |") == "–":
            assert "controller" in feature, f"{law} {article}"
            continue
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", tests)
        assert named and len(named) == tests.count("`") // 2, f"{law} {article}: {tests}"
        for path, name in named:
            assert re.search(rf"^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.M), f"{law} {article}: {path}::{name}"
