"""One name for a term, in English and in Korean: the glossary, and the chapters' links to it."""

import pathlib
import re

import nbformat
import pytest

NOTEBOOKS = pathlib.Path(__file__).resolve().parents[1] / "notebooks"
PAGES = sorted([*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("solutions/*.ipynb")])
TEXT = (NOTEBOOKS / "glossary.md").read_text("utf-8")
ENTRY = re.compile(
    r"^### (.+)\n\n\*\*(.+?)\*\*( †)?((?: · also \*[^*]+\*)*)\. (.+) \[(.+)\]\((.+\.ipynb)\)$", re.MULTILINE
)
HANGUL = re.compile(r"[가-힣]")
LINK = re.compile(r"\[([^\]]+)\]\((?:\.\./)?glossary\.md#([^)]*)\)")
BRACKET = re.compile(r"\(\[?([가-힣][가-힣 -]*)(?:\]\((?:\.\./)?glossary\.md#([^)]*)\))?[,)]")


def anchor(heading):
    """GitHub's anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


ENTRIES = [
    {"name": name, "korean": korean, "names": [name, *re.findall(r"also \*([^*]+)\*", also)], "place": (section, page)}
    for name, korean, _, also, _, section, page in ENTRY.findall(TEXT)
]
BY_ANCHOR = {anchor(entry["name"]): entry for entry in ENTRIES}
BY_KOREAN = {entry["korean"]: entry for entry in ENTRIES}


def prose(path):
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def is_form(words, entry):
    """Whether words say an entry's name, in any inflection: `fine-tuned` for `fine-tuning`, `CNNs` for `CNN`."""
    words = re.sub(r'[*"\s-]+', " ", words).strip().lower()
    return any(re.search(rf"{re.escape(start(name))}\w*$", words) for name in entry["names"])


def start(name):
    *before, last = name.lower().replace("-", " ").split()
    return " ".join([*before, last[: max(3, len(last) - 3)]])


def test_every_entry_is_whole():
    headings = re.findall(r"^### (.+)$", TEXT, re.MULTILINE)
    assert [entry["name"] for entry in ENTRIES] == headings, (
        "an entry has another form than **한국어** †. Meaning. [1.1](…)"
    )
    assert headings == sorted(headings, key=str.lower)


def test_no_name_is_given_twice():
    english = [name.lower() for entry in ENTRIES for name in entry["names"]]
    assert sorted(set(english)) == sorted(english)
    assert len(BY_KOREAN) == len(BY_ANCHOR) == len(ENTRIES)


def test_korean_index():
    index = re.findall(r"\[([^\]]+)\]\(#([^)]+)\)", TEXT.partition("## 가나다순")[2])
    assert dict(index) == {entry["korean"]: anchor(entry["name"]) for entry in ENTRIES}
    korean = [word for word, _ in index]
    assert korean == sorted(korean, key=lambda word: (not HANGUL.match(word), word))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_links_and_brackets(path):
    text = prose(path)
    for match in LINK.finditer(text):
        words, target = match.groups()
        assert target in BY_ANCHOR, f"{match[0]}: no such entry"
        entry = BY_ANCHOR[target]
        if HANGUL.search(words):
            assert words == entry["korean"], match[0]
        else:
            words = {"frozen": "freezing"}.get(words, words)
            assert is_form(words, entry) or entry["name"].startswith(words), match[0]
    for match in BRACKET.finditer(text):
        korean, _ = match.groups()
        assert korean in BY_KOREAN, f"{korean} is not in the glossary"
        before = text[max(0, match.start() - 60) : match.start()]
        assert is_form(before, BY_KOREAN[korean]), (
            f"{before!r}: the glossary has {BY_KOREAN[korean]['name']} for {korean}"
        )


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_first_brackets_are_links(path):
    text = prose(path)
    if "glossary.md#" not in text:
        pytest.skip("this page does not link its terms yet")
    linked = set()
    for korean, target in BRACKET.findall(text):
        assert target or korean in linked, f"the first ({korean}) is no link"
        linked.add(korean)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["name"])
def test_place_of_first_use(entry):
    """The section that an entry names is the one whose text links to it first."""
    section, page = entry["place"]
    chapters = {
        path.name: prose(path) for path in PAGES if re.match(r"(?!00)\d", path.name) and path.parent == NOTEBOOKS
    }
    link = f"glossary.md#{anchor(entry['name'])})"
    found = [name for name, text in chapters.items() if link in text]
    text = chapters[page]
    if "glossary.md#" not in text:
        pytest.skip(f"{page} does not link its terms yet")
    assert found and page == found[0], f"first linked in {found[:1]}"
    before = text[: text.index(link)]
    sections = re.findall(r"^## (\d+\.\d+) ", before, re.MULTILINE)
    if "\n## Exercises" in before:
        expected = f"chapter {int(page[:2])}, exercises"
    else:
        expected = sections[-1] if sections else f"chapter {int(page[:2])}"
    assert section == expected
