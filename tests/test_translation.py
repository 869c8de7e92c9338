"""README.ko.md says what README.md says: the same headings, code, tables, links and numbers, section by section."""

import collections
import itertools
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)]+)\)")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:e-\d+)?")
CODE = re.compile(r"`[^`]+`")


def sections(name):
    """Splits a file at its headings, code blocks apart: (level, title, text, code blocks) of each."""
    text = (ROOT / name).read_text("utf-8")
    blocks = FENCE.findall(text)
    parts = re.split(r"^(#+) (.+)$", FENCE.sub("<block>", text), flags=re.MULTILINE)
    found, blocks = [], iter(blocks)
    for level, title, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        body = body.replace("README.ko.md", "README.md")
        found.append((len(level), title, body, list(itertools.islice(blocks, body.count("<block>")))))
    return found


ENGLISH, KOREAN = sections("README.md"), sections("README.ko.md")
PAIRS = [pytest.param(e, k, id=e[1]) for e, k in zip(ENGLISH, KOREAN, strict=False)]


def rows(text):
    """The rows of a section's tables, and the text around them."""
    lines = text.splitlines()
    return [line for line in lines if line.startswith("|")], "\n".join(
        line for line in lines if not line.startswith("|")
    )


def compare(what, english, korean):
    """Fails where two collections differ, whatever their order: a sentence may turn round in translation."""
    english, korean = collections.Counter(english), collections.Counter(korean)
    missing, surplus = sorted((english - korean).elements()), sorted((korean - english).elements())
    assert english == korean, f"{what}: README.ko.md lacks {missing} and has {surplus} that README.md has not"


def test_headings():
    levels = [[level for level, *_ in found] for found in (ENGLISH, KOREAN)]
    titles = [[title for _, title, *_ in found] for found in (ENGLISH, KOREAN)]
    assert levels[0] == levels[1], f"other headings: {titles[0]} and {titles[1]}"


@pytest.mark.parametrize(("english", "korean"), PAIRS)
def test_code_blocks(english, korean):
    assert english[3] == korean[3], "code blocks stay as they are, comments included"


@pytest.mark.parametrize(("english", "korean"), PAIRS)
def test_tables(english, korean):
    tables = rows(english[2])[0], rows(korean[2])[0]
    assert len(tables[0]) == len(tables[1]), f"{len(tables[0])} rows in README.md, {len(tables[1])} in README.ko.md"
    for row, other in zip(*tables, strict=True):
        assert row.count("|") == other.count("|"), f"other columns: {row}\n{other}"
        numbers = NUMBER.findall(LINK.sub("]", row)), NUMBER.findall(LINK.sub("]", other))
        assert sorted(numbers[0]) == sorted(numbers[1]), f"other numbers:\n{row}\n{other}"


@pytest.mark.parametrize(("english", "korean"), PAIRS)
def test_links_code_and_numbers(english, korean):
    compare("links", LINK.findall(english[2]), LINK.findall(korean[2]))
    compare("code", *([" ".join(code.split()) for code in CODE.findall(side[2])] for side in (english, korean)))
    text = [LINK.sub("]", CODE.sub("", rows(side[2])[1])) for side in (english, korean)]
    compare("numbers in the text", NUMBER.findall(text[0]), NUMBER.findall(text[1]))


def test_links_lead_somewhere():
    for _, title, text, _ in KOREAN:
        for target in LINK.findall(text):
            assert re.match("https?:", target) or (ROOT / target).exists(), f"{title}: {target}"


def test_each_names_the_other():
    assert "\n\nEnglish · [한국어](README.ko.md)\n" in (ROOT / "README.md").read_text("utf-8")
    assert "\n\n[English](README.md) · 한국어\n" in (ROOT / "README.ko.md").read_text("utf-8")
