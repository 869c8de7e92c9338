"""README.ko.md says what README.md says: the same headings, code, tables, links and numbers, section by section.

Comments in code are translated. A number that README.md spells out may stand in digits in README.ko.md: "three", "3".
"""

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
# Of a line of code, what is left to the translator; also the column that explains the files of a folder.
COMMENT = re.compile(r"(?:^|[ \t]+)#[ \t].*$|(?<=\S)[ \t]{2,}.*$", re.MULTILINE)
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


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


def spelled_out(text):
    """The numbers that a text writes as words."""
    return [str(WORDS.index(word)) for word in re.findall(r"\w+", text.lower()) if word in WORDS]


def compare_numbers(english, korean):
    """Fails where a number is missing, or one was added that is not even spelled out in the English."""
    numbers = [NUMBER.findall(LINK.sub("]", text)) for text in (english, korean)]
    surplus = collections.Counter(numbers[1]) - collections.Counter(numbers[0])
    translated = surplus & collections.Counter(spelled_out(english))
    compare("numbers", numbers[0], (collections.Counter(numbers[1]) - translated).elements())


def test_headings():
    levels = [[level for level, *_ in found] for found in (ENGLISH, KOREAN)]
    titles = [[title for _, title, *_ in found] for found in (ENGLISH, KOREAN)]
    assert levels[0] == levels[1], f"other headings: {titles[0]} and {titles[1]}"


@pytest.mark.parametrize(("english", "korean"), PAIRS)
def test_code_blocks(english, korean):
    without = [[COMMENT.sub("", block) for block in side[3]] for side in (english, korean)]
    assert without[0] == without[1], "code stays as it is, only comments are translated"


@pytest.mark.parametrize(("english", "korean"), PAIRS)
def test_tables(english, korean):
    tables = rows(english[2])[0], rows(korean[2])[0]
    assert len(tables[0]) == len(tables[1]), f"{len(tables[0])} rows in README.md, {len(tables[1])} in README.ko.md"
    for row, other in zip(*tables, strict=True):
        assert row.count("|") == other.count("|"), f"other columns: {row}\n{other}"
        compare_numbers(row, other)


@pytest.mark.parametrize(("english", "korean"), PAIRS)
def test_links_code_and_numbers(english, korean):
    compare("links", LINK.findall(english[2]), LINK.findall(korean[2]))
    compare("code", *([" ".join(code.split()) for code in CODE.findall(side[2])] for side in (english, korean)))
    compare_numbers(*(CODE.sub("", rows(side[2])[1]) for side in (english, korean)))


def test_comments_and_spelled_out_numbers():
    """What is left to the translation, and what is not."""
    block = "make lab   # read\n  images/1.jpg    JPEG or PNG\n# alone\nx = f(1)  # one"
    assert COMMENT.sub("", block).split("\n") == ["make lab", "  images/1.jpg", "", "x = f(1)"]
    compare_numbers("two to three minutes, 41", "2~3분, 41")
    for korean in ("2~3분", "2~4분, 41", "2~3분, 41, 2"):
        with pytest.raises(AssertionError, match="numbers"):
            compare_numbers("two to three minutes, 41", korean)


def test_links_lead_somewhere():
    for _, title, text, _ in KOREAN:
        for target in LINK.findall(text):
            assert re.match("https?:", target) or (ROOT / target).exists(), f"{title}: {target}"


def test_each_names_the_other():
    assert "\n\nEnglish · [한국어](README.ko.md)\n" in (ROOT / "README.md").read_text("utf-8")
    assert "\n\n[English](README.md) · 한국어\n" in (ROOT / "README.ko.md").read_text("utf-8")
