"""A real browser, as a reader has it: chapter 1 run in JupyterLab, and the site read at a desk, on a phone, by night.

Each test leaves its screenshots in its temporary folder (pytest prints it where `--basetemp` names it).
"""

import contextlib
import functools
import http.server
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import nbformat
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
CHAPTERS = sorted(path for path in (ROOT / "notebooks").glob("[0-9]*.ipynb") if not path.name.startswith("00_"))
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

pytestmark = pytest.mark.browser


def find_browser(playwright):
    """A Chromium: `FCN_KERAS_BROWSER`, else the first on the PATH, else Playwright's own, else None."""
    found = [os.environ.get("FCN_KERAS_BROWSER"), *map(shutil.which, NAMES), playwright.chromium.executable_path]
    return next((path for path in found if path and os.path.exists(path)), None)


@pytest.fixture(scope="module")
def browser():
    reason = "Playwright is not installed; the extra `tests` of pyproject.toml brings it"
    api = pytest.importorskip("playwright.sync_api", reason=reason)
    with api.sync_playwright() as playwright:
        path = find_browser(playwright)
        if path is None:
            pytest.skip(f"no browser: FCN_KERAS_BROWSER names none, the PATH has none of {', '.join(NAMES)}")
        options = ["--disable-background-networking"]  # the browser's own calls home
        root = getattr(os, "geteuid", int)() == 0 and sys.platform == "linux"
        options += ["--no-sandbox"] if root else []  # Chromium refuses root else
        with playwright.chromium.launch(executable_path=path, args=options) as chromium:
            yield chromium


@pytest.fixture
def visit(browser):
    """Opens a page in a fresh profile; afterwards, nothing may have failed to load or have come from elsewhere."""
    contexts, wrong = [], []

    def open_page(address, viewport, **options):
        contexts.append(browser.new_context(viewport=viewport, **options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: is_here(request.url) or wrong.append(request.url))
        page.on("response", lambda answer: answer.ok or answer.status == 304 or wrong.append(answer.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def is_here(address):
    return address.startswith(("http://127.0.0.1:", "data:", "blob:"))


# The site.


@pytest.fixture(scope="module")
def address(site):
    """The address of the site, served from this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def fits(page):
    """Whether a page is no wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def shown(page, selector):
    """For each picture, whether it is there and has been drawn."""
    return page.eval_on_selector_all(selector, "all => all.map(one => one.complete && one.naturalWidth > 0)")


def test_front_page_leads_through_the_chapters(address, visit, tmp_path):
    page = visit(address, DESK)
    page.screenshot(path=tmp_path / "front.png")
    assert "fcn_keras" in page.title() and shown(page, "article img") == [True] and fits(page)
    page.click("a.next-page")
    for chapter in CHAPTERS:
        page.click("a.next-page")
        page.wait_for_url(f"**/{chapter.stem}.html")


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_every_page_fits_its_window(site, address, visit, tmp_path, viewport):
    page = visit(address, viewport)
    wide = []
    for path in sorted(site.rglob("*.html")):
        page.goto(f"{address}/{path.relative_to(site).as_posix()}")
        pictures = shown(page, "article img")
        if not fits(page) or not all(pictures):
            wide.append(path.name)
            page.screenshot(path=tmp_path / f"{path.stem}.png")
    assert not wide


def test_a_phone_opens_the_list_of_chapters(address, visit, tmp_path):
    page = visit(f"{address}/notebooks/{CHAPTERS[0].stem}.html", PHONE)
    chapter = page.locator(".sidebar-tree a", has_text="3. Upsampling")
    assert not chapter.is_visible() or chapter.bounding_box()["x"] < 0
    page.click("label.nav-overlay-icon")
    page.wait_for_timeout(500)  # it slides in
    page.screenshot(path=tmp_path / "menu.png")
    chapter.click()
    page.wait_for_url("**/03_upsampling.html")


def test_by_night_pages_are_dark(address, visit, tmp_path):
    page = visit(f"{address}/notebooks/{CHAPTERS[0].stem}.html", DESK, color_scheme="dark")
    assert brightness(page, "body") < 60 and brightness(page, ".cell_input pre") < 80
    page.screenshot(path=tmp_path / "night.png")
    page.locator(".content-icon-container button.theme-toggle").click()  # auto, then light
    assert brightness(page, "body") > 200
    page.reload()
    assert brightness(page, "body") > 200, "the choice is not kept"


def brightness(page, selector):
    color = page.eval_on_selector(selector, "one => getComputedStyle(one).backgroundColor")
    return max(int(part) for part in color.strip("rgba()").split(",")[:3])


def test_search_finds_words_of_chapters_and_of_docstrings(address, visit, tmp_path):
    page = visit(address, DESK)
    page.fill("form[role=search] input[name=q]", "transposed convolution")
    page.press("form[role=search] input[name=q]", "Enter")
    page.wait_for_selector("#search-results li a")
    page.wait_for_function("document.querySelector('.search-summary').textContent.includes('found')")
    found = page.locator("#search-results li a").all_text_contents()
    page.screenshot(path=tmp_path / "search.png")
    assert "3. Upsampling" in found and "layers" in found


# JupyterLab.

PROMPTS = ".jp-CodeCell .jp-InputPrompt"
ERRORS = "[data-mime-type='application/vnd.jupyter.error']"
FINISHED = """() => {
  const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(one => one.textContent);
  return prompts.some(text => /[0-9]/.test(text)) && !prompts.includes('[*]:');
}"""
SETTINGS = {
    "notebook-extension/tracker": '{"windowingMode": "none"}',  # all cells are in the page at once
    "apputils-extension/notification": '{"fetchNews": "false"}',
}


@pytest.fixture
def lab(tmp_path):
    """JupyterLab of this environment on a copy of the chapters without their outputs: its address, and the copy."""
    copy, settings = tmp_path / "notebooks", tmp_path / "settings"
    shutil.copytree(ROOT / "notebooks", copy)
    for path in copy.glob("*.ipynb"):
        strip(path)
    for name, text in SETTINGS.items():
        file = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    own = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(settings), "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces")}
    own |= {"IPYTHONDIR": str(tmp_path / "ipython"), "PYTHONPATH": str(ROOT), "FCN_KERAS_FAST": "1"}
    environment = {**os.environ, **own}
    environment.pop("MPLBACKEND", None)
    port = free_port()
    options = ["--no-browser", "--allow-root", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    options += ["--ServerApp.ip=127.0.0.1", "--IdentityProvider.token=", f"--ServerApp.root_dir={tmp_path}"]
    with open(tmp_path / "lab.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *options], env=environment, stdout=log, stderr=log
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/api/status", process, tmp_path / "lab.log")
            yield f"http://127.0.0.1:{port}", copy
        finally:
            process.terminate()  # it ends its kernels
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()


def strip(path):
    """Removes a notebook's outputs, so that those found later are new."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, path)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_for(address, process, log, seconds=120):
    until = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(urllib.error.URLError):
            return urllib.request.urlopen(address, timeout=5).close()
        time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start; it said:\n{log.read_text(errors='replace')[-3000:]}")


def test_chapter_1_runs_in_jupyterlab(lab, visit, tmp_path):
    address, copy = lab
    chapter, stored = copy / CHAPTERS[0].name, nbformat.read(CHAPTERS[0], as_version=4)
    page = visit(f"{address}/lab/tree/notebooks/{chapter.name}", DESK)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=120_000)
    assert not page.query_selector(".jp-OutputArea-output")

    run_all(page)
    page.wait_for_function(FINISHED, timeout=600_000)
    page.screenshot(path=tmp_path / "lab.png")
    assert page.locator(ERRORS).all_text_contents() == []
    cells = [cell for cell in stored.cells if cell.cell_type == "code" and cell.source.strip()]
    assert page.locator(PROMPTS).all_text_contents()[-1] == f"[{len(cells)}]:"
    pictures = page.locator(".jp-Cell-outputArea img")
    assert pictures.count() == figures(stored)
    pictures.last.scroll_into_view_if_needed()
    page.screenshot(path=tmp_path / "last_figure.png")
    assert all(shown(page, ".jp-Cell-outputArea img"))

    picture = page.locator("img.widget-image").last
    before = picture.get_attribute("src")
    page.locator(".widget-slider .noUi-handle").last.press("ArrowRight")
    turned = "before => [...document.querySelectorAll('img.widget-image')].at(-1).src !== before"
    page.wait_for_function(turned, arg=before, timeout=60_000)
    picture.scroll_into_view_if_needed()
    page.screenshot(path=tmp_path / "turned.png")


def run_all(page):
    """Run > Run All Cells; again while JupyterLab, still loading, closes the menu or starts nothing."""
    item = page.locator(".lm-Menu-item[data-command='runmenu:run-all']")
    for _ in range(10):
        page.keyboard.press("Escape")
        page.click(".lm-MenuBar-item:has-text('Run')")
        page.wait_for_timeout(1000)
        if item.is_visible():
            item.click()
            page.wait_for_timeout(3000)
        if set("".join(page.locator(PROMPTS).all_text_contents())) - set("[ ]:"):
            return
    pytest.fail("Run All Cells runs none")


def figures(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return sum("image/png" in output.get("data", {}) for output in outputs)
