"""Runs the chapters without a browser and writes them as pages that need no network.

python notebooks/build.py                 all chapters, as build/walkthrough/NN_name.html
python notebooks/build.py --fast 2 3      chapters 2 and 3, at a small scale that takes seconds
python notebooks/build.py --inplace       also stores the outputs in the notebooks
"""

import argparse
import dataclasses
import datetime
import html
import os
import pathlib
import platform
import re
import sys
import tempfile
import time

import nbclient
import nbformat
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter
from nbconvert.filters import strip_ansi
from traitlets.config import Config

from fcn_keras._files import write_text

NOTEBOOKS = pathlib.Path(__file__).resolve().parent
OUT = NOTEBOOKS.parent / "build" / "walkthrough"

# Pages load nothing from a network: chapters write formulas in plain text and draw pictures, not widgets.
PAGE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js_requirejs %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
"""

# Without this, the kernel warns that others on this machine could read its messages.
ENCRYPTED = Config({"KernelManager": {"transport_encryption": "auto"}})


@dataclasses.dataclass(frozen=True)
class Run:
    """One execution of a chapter."""

    notebook: nbformat.NotebookNode
    seconds: float
    error: str = ""


def find_chapters(folder):
    """Lists the chapters of a folder in reading order, without the contents page, 00."""
    return sorted(path for path in folder.glob("[0-9][0-9]_*.ipynb") if not path.name.startswith("00_"))


def choose(chapters, wanted):
    """Picks chapters by number or by the start of their name.

    Raises:
        ValueError: If a wanted chapter does not exist.
    """
    chosen = []
    for word in wanted:
        start = f"{int(word):02d}_" if word.isdecimal() else word
        found = [chapter for chapter in chapters if chapter.name.startswith(start)]
        if not found:
            names = ", ".join(chapter.stem for chapter in chapters)
            raise ValueError(f"Found no chapter {word!r}: expected a number or a name of {names}.")
        chosen += found
    return sorted(set(chosen)) if wanted else chapters


def run_chapter(path, fast=False, log=lambda text: None):
    """Runs a chapter in a fresh kernel, in the folder of its file.

    Args:
        path: The notebook. Its file is not changed.
        fast: Whether the chapter runs at the small scale of the tests.
        log: Called with pieces of a progress report.

    Returns:
        A `Run`. Its notebook holds the outputs up to the first error.
    """
    notebook = nbformat.read(path, as_version=4)
    code = [index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    clock = {}

    def started(cell, cell_index):
        clock["cell"] = time.monotonic()
        first_line = cell.source.strip().partition("\n")[0]
        log(f"  cell {code.index(cell_index) + 1:>2}/{len(code)}  {first_line[:60]:<60}")

    def executed(cell, cell_index, execute_reply):
        log(f" {time.monotonic() - clock['cell']:6.1f} s\n")

    client = nbclient.NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=None,
        record_timing=False,
        config=ENCRYPTED,
        extra_arguments=["--IPKernelApp.capture_fd_output=False"],  # TensorFlow's C++ log is no output
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_execute=started,
        on_cell_executed=executed,
    )
    environment = {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **os.environ,
        "FCN_KERAS_FAST": "1" if fast else "",
    }
    environment.pop("MPLBACKEND", None)  # the kernel's own draws into the page
    start, error = time.monotonic(), ""
    with tempfile.TemporaryFile() as kernel_log:
        try:
            client.execute(env=environment, stderr=kernel_log)
        except nbclient.exceptions.CellExecutionError as failure:
            error = strip_ansi(str(failure))
        except nbclient.exceptions.DeadKernelError as failure:
            kernel_log.seek(0)
            last = kernel_log.read()[-2000:].decode(errors="replace")
            error = f"{failure}: the process was killed (out of memory?) or crashed. It said:\n{last}"
    return Run(tidy(notebook), time.monotonic() - start, error)


def tidy(notebook):
    """Removes what changes from run to run: timings, versions, widgets."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    return notebook


def title_of(notebook, otherwise):
    """Reads a notebook's first heading."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    heading = re.search(r"^# +(.+)$", text, re.MULTILINE)
    return heading.group(1).strip() if heading else otherwise


def to_page(notebook, path, out):
    """Renders a notebook as one HTML file, which holds its pictures and loads nothing.

    Args:
        notebook: The executed notebook.
        path: Path of the notebook, from which its links start.
        out: Folder of the page, from which the links of the page start.
    """
    exporter = HTMLExporter(raw_template=PAGE, embed_images=True)
    exporter.log.setLevel("ERROR")  # it warns of pictures without a description, which they get below
    name = {"name": title_of(notebook, path.stem), "path": str(path.parent)}
    page, _ = exporter.from_notebook_node(notebook, resources={"metadata": name})
    soup = BeautifulSoup(page, "html.parser")
    for picture in soup.select(".jp-OutputArea-output img"):
        caption = picture.find_next(class_="jp-MarkdownCell")
        if caption and caption.get_text().strip().startswith("Figure"):
            picture["alt"] = " ".join(caption.get_text().split())
    for link in soup.select("a[href]"):
        link["href"] = _from_page(link["href"], path.parent, out)
    return str(soup)


def _from_page(href, folder, out):
    target, hash_, anchor = href.partition("#")
    if not target or re.match(r"[a-z]+:", target):
        return href
    if re.fullmatch(r"00_[^/]*\.ipynb", target):
        target = "index.html"
    elif re.fullmatch(r"\d\d_[^/]*\.ipynb", target):
        target = target.replace(".ipynb", ".html")
    else:
        target = pathlib.Path(os.path.relpath(folder / target, out)).as_posix()
    return target + hash_ + anchor


def to_index(chapters, runs, out, fast):
    """Renders the table of chapters: title, status, minutes."""
    rows = ""
    for path in chapters:
        run, page = runs.get(path), out / f"{path.stem}.html"
        title = html.escape(title_of(run.notebook if run else nbformat.read(path, 4), path.stem))
        if page.exists():
            title = f'<a href="{page.name}">{title}</a>'
        status = ("failed" if run.error else "ran") if run else "not run this time"
        minutes = f"{run.seconds / 60:.1f}" if run else ""
        rows += f"<tr><td>{title}<td>{status}<td align=right>{minutes}\n"
    scale = "small scale (--fast)" if fast else "full scale"
    machine = f"{os.cpu_count()} CPU cores, {platform.machine()}, {platform.system()}"
    return f"""<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>fcn_keras: the walkthrough</title>
<style>
body {{ font: 16px/1.5 sans-serif; max-width: 46em; margin: 2em auto; padding: 0 1em }}
td, th {{ padding: .3em 1em .3em 0; text-align: left; border-bottom: 1px solid #ccc }}
</style>
<h1>fcn_keras: the walkthrough</h1>
<table><tr><th>Chapter<th>Status<th>Minutes
{rows}</table>
<p>Run on {datetime.date.today()} at {scale}: {machine}.</p>
"""


def main(arguments=None, notebooks=NOTEBOOKS, out=OUT):
    """Runs chapters and writes their pages.

    Args:
        arguments: The command line; by default that of the process.
        notebooks: Folder of the chapters.
        out: Folder of the pages.

    Returns:
        1 when a chapter failed, else 0.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapter", nargs="*", help="number, or start of the name; by default all")
    parser.add_argument("--fast", action="store_true", help="small scale: seconds, not minutes")
    parser.add_argument("--inplace", action="store_true", help="also store the outputs in the notebooks")
    options = parser.parse_args(arguments)
    if options.fast and options.inplace:
        parser.error("--inplace stores the outputs that readers see. Fix: run it without --fast.")
    chapters, runs = find_chapters(notebooks), {}
    try:
        chosen = choose(chapters, options.chapter)
    except ValueError as error:
        parser.error(str(error))

    for path in chosen:
        print(f"{path.stem}")
        run = runs[path] = run_chapter(path, options.fast, lambda text: print(text, end="", flush=True))
        print(f"  failed\n{run.error}" if run.error else f"  {run.seconds / 60:.1f} min", flush=True)
        write_text(out / f"{path.stem}.html", to_page(run.notebook, path, out))
        if options.inplace and not run.error:
            write_text(path, nbformat.writes(run.notebook) + "\n")
        write_text(out / "index.html", to_index(chapters, runs, out, options.fast))
    failed = [path.stem for path, run in runs.items() if run.error]
    print(f"{len(runs) - len(failed)} of {len(runs)} chapters ran: {out / 'index.html'}")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
