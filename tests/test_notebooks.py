"""Every chapter runs, at small scale, and keeps the rules of the house; and the runner itself."""

import ast
import importlib.util
import pathlib
import re

import nbformat
import pytest

import fcn_keras
from fcn_keras import datasets
from fcn_keras.datasets.shapes import Shapes

NOTEBOOKS = pathlib.Path(__file__).resolve().parents[1] / "notebooks"
CHAPTERS = sorted(path for path in NOTEBOOKS.glob("[0-9]*.ipynb") if not path.name.startswith("00_"))
SOLUTIONS = sorted(NOTEBOOKS.glob("solutions/*.ipynb"))
HEADINGS = ("objectives", "summary", "exercises")

spec = importlib.util.spec_from_file_location("walkthrough", NOTEBOOKS / "build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)


def each(paths):
    if not paths:
        skip = pytest.mark.skip(reason="no notebook of this kind is there yet")
        return [pytest.param(None, marks=skip, id="none")]
    return [pytest.param(path, id=path.stem) for path in paths]


@pytest.fixture(scope="module")
def few_pictures():
    """As many objects and fine scenes as chapters in fast mode take; to draw all of them takes a minute and a half."""
    few = {"objects": {"train": 9, "validation": 300}}
    few |= {f"fine_x{k}": {"train": 16, "validation": 8} for k in (1, 2)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shapes, "SIZES", {**Shapes.SIZES, **few})
        for config in few:
            datasets.prepare("shapes", config)


@pytest.mark.parametrize("path", each(CHAPTERS + SOLUTIONS))
def test_runs(path, few_pictures):
    run = build.run_chapter(path, fast=True)
    assert not run.error, run.error
    errors = [text for cell in run.notebook.cells for text in streams(cell, "stderr")]
    # Many small models in one kernel look to TensorFlow like one function that is traced over and over.
    assert not [text for text in errors if "tf.function retracing" not in text]


@pytest.mark.real_data
def test_chapter_8_on_photographs(shared_data, monkeypatch):
    monkeypatch.setenv("FCN_KERAS_VOC", str(shared_data))
    run = build.run_chapter(next(NOTEBOOKS.glob("08_*.ipynb")), fast=True)
    assert not run.error, run.error
    printed = "".join(text for cell in run.notebook.cells for text in streams(cell, "stdout"))
    assert "| FCN-32s | " in printed and "| FCN-16s | " in printed


def streams(cell, name):
    return [output.text for output in cell.get("outputs", ()) if output.get("name") == name]


def cells(path, kind):
    notebook = nbformat.read(path, as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def outputs(path):
    return [output for cell in cells(path, "code") for output in cell.outputs]


@pytest.mark.parametrize("path", each(CHAPTERS))
def test_stored_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < 1_000_000
    assert "widgets" not in notebook.metadata
    assert outputs(path), "no outputs stored: python notebooks/build.py --inplace"
    kinds = {output.output_type for output in outputs(path)}
    assert "error" not in kinds
    assert not [output for output in outputs(path) if output.get("name") == "stderr"]
    counts = [cell.execution_count for cell in cells(path, "code") if cell.source.strip()]
    assert counts == list(range(1, len(counts) + 1)), "not run from top to bottom"


@pytest.mark.parametrize("path", each(CHAPTERS))
def test_has_title_objectives_summary_and_exercises(path):
    text = "\n".join(cell.source for cell in cells(path, "markdown"))
    assert len(re.findall(r"^# \S", text, re.MULTILINE)) == 1, "one title"
    headings = [line.lower() for line in re.findall(r"^##+ (.+)$", text, re.MULTILINE)]
    missing = [name for name in HEADINGS if not any(name in heading for heading in headings)]
    assert not missing


@pytest.mark.parametrize("path", each(CHAPTERS))
def test_formulas_are_plain_text(path):
    for cell in cells(path, "markdown"):
        prose = re.sub(r"```.*?```|`[^`]*`", "", cell.source, flags=re.DOTALL)
        assert not re.search(r"\$[^$]+\$|\\\(|\\\[", prose), "the rendered chapters load no MathJax"


def defined(code, public=False):
    """The functions and classes that a piece of code defines; the public ones of a module's top level."""
    tree = ast.parse(code)
    nodes = tree.body if public else ast.walk(tree)
    names = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return {name for name in names if not name.startswith("_")} if public else names


@pytest.mark.parametrize("path", each(CHAPTERS))
def test_code_cells_are_short_and_define_nothing_that_the_package_has(path):
    package = pathlib.Path(fcn_keras.__file__).parent
    public = set().union(*(defined(file.read_text("utf-8"), public=True) for file in package.rglob("*.py")))
    for cell in cells(path, "code"):
        lines = cell.source.splitlines()
        assert len(lines) <= 25, cell.source
        code = "\n".join(line for line in lines if not line.startswith(("%", "!")))
        assert not defined(code) & public


@pytest.mark.parametrize("path", each(CHAPTERS))
def test_every_figure_has_a_caption(path):
    notebook = nbformat.read(path, as_version=4)
    for cell, following in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", ())):
            assert following and following.source.startswith("**Figure"), cell.source


# The runner, on notebooks made here.


LOST = {"name": "lost", "display_name": "A kernel of another machine"}


def chapter(folder, name, *sources):
    notebook = nbformat.v4.new_notebook(metadata={"widgets": {}, "kernelspec": LOST})
    for source in sources:
        kind = "markdown" if source.startswith(("#", "*", "[")) else "code"
        notebook.cells.append(getattr(nbformat.v4, f"new_{kind}_cell")(source))
    path = folder / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    return folder


DRAW = """from matplotlib import pyplot as plt
plt.plot([0, 1])
plt.show()"""


def test_main_goes_on_after_a_failure(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")  # a user's own must not eat the figures
    bad = chapter(folder, "01_bad", "# First", "print('so far')", "1 / 0", "print('never')")
    good = chapter(
        folder,
        "02_good",
        "# Second & last",
        "import os; print('fast:', os.environ['FCN_KERAS_FAST'], 'at', os.getcwd())",
        DRAW,
        "**Figure 1.** A line.",
        "[back](01_bad.ipynb#First) [home](00_contents.ipynb) [code](../fcn_keras/models/fcn.py)",
        "[paper](https://arxiv.org/abs/1411.4038)",
    )
    chapter(folder, "00_contents", "# Contents")
    before = good.read_text()
    out = tmp_path / "build" / "walkthrough"

    assert build.main(["--fast"], folder, out) == 1

    printed = capsys.readouterr().out
    assert "1 / 0" in printed and "ZeroDivisionError" in printed and "cell  2/3" in printed
    assert {page.name for page in out.iterdir()} == {"01_bad.html", "02_good.html", "index.html"}
    assert "so far" in (out / "01_bad.html").read_text()
    page = (out / "02_good.html").read_text()
    assert f"fast: 1 at {folder}" in page
    assert 'alt="Figure 1. A line."' in page and "data:image/png;base64," in page
    for link in ("01_bad.html#First", "index.html", "../../fcn_keras/models/fcn.py", "https://arxiv"):
        assert f'href="{link}' in page
    index = (out / "index.html").read_text()
    assert 'href="02_good.html">Second &amp; last' in index
    assert "failed" in index and "ran" in index and "Contents" not in index
    assert good.read_text() == before and "1 / 0" in bad.read_text()


def test_pages_load_nothing(folder, tmp_path):
    path = chapter(folder, "01_one", "# One", "print(1)")
    page = build.to_page(nbformat.read(path, 4), path, tmp_path)
    loads = r"""(?:src|<link[^>]*href|@import|url\(|import\()\s*=?\s*["'(]*https?:"""
    assert not re.search(loads, page)


def test_inplace_stores_outputs_and_nothing_else(folder, tmp_path):
    path = chapter(folder, "01_one", "# One", "print(1)", "2")
    sources = [cell.source for cell in nbformat.read(path, 4).cells]
    assert build.main(["--inplace"], folder, tmp_path / "out") == 0
    stored = nbformat.read(path, as_version=4)
    assert [cell.source for cell in stored.cells] == sources
    assert [output.get("text") for output in stored.cells[1].outputs] == ["1\n"]
    assert stored.cells[2].outputs[0].data == {"text/plain": "2"}
    assert set(stored.metadata) == {"kernelspec", "language_info"}
    assert not any(cell.metadata for cell in stored.cells)
    assert [file.name for file in folder.iterdir()] == ["01_one.ipynb"]


def test_inplace_leaves_a_failing_chapter_alone(folder, tmp_path):
    path = chapter(folder, "01_one", "print(1)", "raise ValueError")
    before = path.read_bytes()
    assert build.main(["--inplace"], folder, tmp_path / "out") == 1
    assert path.read_bytes() == before


def test_a_dead_kernel_is_a_failure(folder):
    path = chapter(folder, "01_one", "import os", "os.write(2, b'last words'); os._exit(7)")
    error = build.run_chapter(path).error
    assert "process was killed" in error and "last words" in error


def test_what_libraries_log_below_python_is_no_output(folder):
    path = chapter(folder, "01_one", "import os", "n = os.write(2, b'cuda'); print('seen')")
    run = build.run_chapter(path)
    assert [output.text for output in run.notebook.cells[1].outputs] == ["seen\n"]


def test_choose(folder):
    paths = [folder / f"0{n}_{name}.ipynb" for n, name in enumerate(("a", "b", "c"), start=1)]
    assert build.choose(paths, []) == paths
    assert build.choose(paths, ["3", "01_a"]) == [paths[0], paths[2]]
    with pytest.raises(ValueError, match=r"no chapter '7'.*01_a, 02_b, 03_c"):
        build.choose(paths, ["7"])


@pytest.mark.parametrize("arguments", [["--fast", "--inplace"], ["9"]])
def test_bad_command_lines(folder, tmp_path, arguments):
    with pytest.raises(SystemExit, match="2"):
        build.main(arguments, folder, tmp_path)
