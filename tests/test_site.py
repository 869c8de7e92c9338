"""The site, built once: every chapter with its figures, every public name, every link, and nothing from elsewhere."""

import inspect
import itertools
import pathlib
import re
import urllib.parse

import nbformat
import pytest
from bs4 import BeautifulSoup

import fcn_keras

NOTEBOOKS = pathlib.Path(__file__).resolve().parents[1] / "notebooks"
CHAPTERS = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
SOLUTIONS = sorted(NOTEBOOKS.glob("solutions/*.ipynb"))
LOADING = "[src], link[rel~=stylesheet], link[rel~=icon], link[rel~=preload], object[data]"
ELSEWHERE = re.compile(r"""(?:url\(|@import|import\(|fetch\(|\.src\s*=)\s*["'(]*(?:https?:)?//""")


def each(paths):
    return [pytest.param(path, id=f"{path.parent.name}-{path.stem}") for path in paths]


@pytest.fixture(scope="module")
def pages(site):
    """Each page of the site, parsed, by its path."""
    return {path: BeautifulSoup(path.read_text("utf-8"), "html.parser") for path in site.rglob("*.html")}


@pytest.fixture
def page_of(site, pages):
    return lambda notebook: pages[site / "notebooks" / notebook.relative_to(NOTEBOOKS).with_suffix(".html")]


@pytest.mark.parametrize("path", each(CHAPTERS + SOLUTIONS))
def test_chapters_are_there_as_they_were_run(path, page_of):
    page, notebook = page_of(path), nbformat.read(path, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    figures = [data for output in outputs for data in output.get("data", {}) if data.startswith("image/")]
    assert len(page.select(".cell_output img")) == len(figures)
    shown = " ".join(page.get_text().split())
    for output in outputs:
        assert " ".join(output.get("text", "").split()) in shown
    if not outputs:
        assert not page.select(".cell_output"), "the build ran a cell"


@pytest.mark.parametrize("path", each(CHAPTERS))
def test_figures_are_described_by_their_captions(path, page_of):
    assert all(picture["alt"].startswith("Figure") for picture in page_of(path).select(".cell_output img"))


def test_next_and_previous_follow_the_book(site, pages):
    order = [site / "index.html"]
    order += [site / "notebooks" / f"{path.stem}.html" for path in CHAPTERS]
    order += [site / "notebooks" / "solutions" / f"{path.stem}.html" for path in SOLUTIONS]
    order += [site / "README.html"]
    order += [site / "docs" / f"{name}.html" for name in ("your_own_images", "channels", "results", "speed", "exports")]
    order += [site / "api" / "index.html"]
    for here, there in itertools.pairwise(order):
        assert target(here, pages[here].select_one("a.next-page")) == there
        assert target(there, pages[there].select_one("a.prev-page")) == here


def target(page, link):
    return (page.parent / link["href"]).resolve()


def test_nothing_is_loaded_from_elsewhere(site, pages):
    loaded = {element.get("src") or element.get("href") or element["data"]
              for page in pages.values() for element in page.select(LOADING)}  # fmt: skip
    assert not [address for address in loaded if re.match(r"(\w+:)?//", address)]
    written = [path for path in site.rglob("*") if path.suffix in (".css", ".js", ".html")]
    assert not [path for path in written if ELSEWHERE.search(path.read_text("utf-8"))]


def test_every_link_within_the_site_leads_somewhere(pages):
    names = {path: {element["id"] for element in page.select("[id]")} for path, page in pages.items()}
    dead = set()
    for path, page in pages.items():
        for element in page.select("a[href], img[src], script[src], link[href]"):
            address = urllib.parse.urlsplit(element.get("href") or element.get("src"))
            if address.scheme or address.netloc:
                continue
            file = (path.parent / urllib.parse.unquote(address.path)).resolve() if address.path else path
            anchor = urllib.parse.unquote(address.fragment)
            if not file.is_file() or (anchor and anchor not in names.get(file, ())):
                dead.add((path.name, address.geturl()))
    assert not dead


@pytest.mark.parametrize("name", fcn_keras.__all__)
def test_public_names_are_in_the_reference(name, site, pages):
    """Each once: a name that the package itself offers stands on its first page, not on that of its module."""
    thing, front = getattr(fcn_keras, name), pages[site / "api" / "index.html"]
    if not inspect.ismodule(thing):
        assert front.find(id=f"fcn_keras.{name}")
        return
    page = pages[site / "api" / f"fcn_keras.{name}.html"]
    assert page.find(id=f"module-fcn_keras.{name}")
    for inner in getattr(thing, "__all__", ()):
        found = getattr(thing, inner)
        if inspect.isfunction(found) or inspect.isclass(found):
            there = page.find(id=f"fcn_keras.{name}.{inner}")
            offered = getattr(fcn_keras, inner, None) is found
            assert (there is None) == offered and (not offered or front.find(id=f"fcn_keras.{inner}")), inner


def test_layers_show_their_own_arguments(site, pages):
    entry = pages[site / "api" / "index.html"].find(id="fcn_keras.BilinearConv2DTranspose")
    arguments = list(inspect.signature(fcn_keras.BilinearConv2DTranspose.__init__).parameters)[1:3]
    assert f"({', '.join(arguments)}" in " ".join(entry.get_text().split())


def test_pages_are_for_day_and_night_and_for_phones(pages):
    for path, page in pages.items():
        assert page.select_one("button.theme-toggle"), path
        assert "width=device-width" in page.select_one("meta[name=viewport]")["content"], path
        assert page.select_one("form[role=search]"), path
