"""Sphinx' settings for `make site`: the chapters as they were run, and the package's docstrings, as one site.

The chapters are not in this folder. `gather` copies the notebooks, and the Markdown files that they link to, into the
source folder of the build, so that their links work there as they do on GitHub. It also writes a page for each part of
the package. Nothing is executed, and no page loads anything from elsewhere.
"""

import importlib
import inspect
import os
import pathlib
import pkgutil
import shutil
import sys

from docutils import nodes

ROOT = pathlib.Path(__file__).resolve().parents[1]
COPIED = ("*.md", "LICENSE", "data/*.md", "docs/*.md", "benchmarks/**/*.md", "benchmarks/**/*.png",
          "notebooks/**/*.md", "notebooks/**/*.ipynb", "notebooks/**/*.png")  # fmt: skip

sys.path.insert(0, str(ROOT))
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import fcn_keras  # noqa: E402

project = html_title = "fcn_keras"
author = copyright = "the fcn_keras authors"
release = version = fcn_keras.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["**/.ipynb_checkpoints"]
suppress_warnings = ["toc.not_included"]  # a page that only the README links to needs no entry

nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # tables that a cell made
myst_heading_anchors = 3

default_role = "py:obj"  # `name` in a docstring is a link where it is a public name, else code
autodoc_inherit_docstrings = False  # Keras explains its own methods
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # the docstrings say more
napoleon_numpy_docstring = False

html_theme = "furo"
pygments_dark_style = "github-dark"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False

CORE = ("geometry", "layers", "models", "losses", "metrics", "inference")  # what a reader of chapters 1-5 meets
OVERVIEW = """API reference
=============

.. automodule:: fcn_keras
   :members:

The core
--------

.. toctree::
   :titlesonly:

{core}

Beyond the chapters
-------------------

.. toctree::
   :titlesonly:

{beyond}
"""


def gather(app, config):
    """Fills the source folder: the front page, the copies, a page for each part of the package."""
    source = pathlib.Path(app.srcdir)
    shutil.rmtree(source)
    front = pathlib.Path(__file__).with_name("index.md")
    for path in [path for pattern in COPIED for path in ROOT.glob(pattern) if path != front]:
        copy(path, source / path.relative_to(ROOT))
    copy(front, source / front.name)
    (source / "api").mkdir()
    pages = dict(submodules(fcn_keras))
    for name, module in pages.items():
        (source / "api" / f"{name}.rst").write_text(page_of(name, module), encoding="utf-8")
    core = [f"fcn_keras.{name}" for name in CORE]
    listed = {"core": core, "beyond": [name for name in pages if name not in core]}
    lines = {part: "\n".join(f"   {name}" for name in names) for part, names in listed.items()}
    (source / "api" / "index.rst").write_text(OVERVIEW.format(**lines), encoding="utf-8")


def copy(path, to):
    """Copies a file together with its time, which tells Sphinx what to build again."""
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, to)


def submodules(package):
    """Yields names and modules of a package. Where a function and a module share a name, the function is public."""
    for found in pkgutil.iter_modules(getattr(package, "__path__", ())):
        name = f"{package.__name__}.{found.name}"
        if not found.name.startswith("_"):
            module = importlib.import_module(name)
            if getattr(package, found.name) is module:
                yield name, module


def page_of(name, module):
    """Writes the page of a module, and of the modules in it."""
    inner = () if name == "fcn_keras.cli" else submodules(module)  # the commands' page is their --help
    sections = [section(below, "-", module, code) for below, code in inner]
    return "\n".join([section(name, "=", fcn_keras, module), *sections])


def section(name, rule, package, module):
    """Documents a module without the names that its package offers itself: each name stands where readers type it."""
    title = name.removeprefix("fcn_keras.")
    taken = [public for public in package.__all__ if getattr(module, public, ...) is getattr(package, public)]
    members = f"   :members:\n   :exclude-members: {', '.join(taken)}\n"
    return f"{title}\n{rule * len(title)}\n\n.. automodule:: {name}\n{members}"


def signature(app, what, name, thing, options, arguments, returned):
    """Gives a Keras class the arguments of its `__init__`; Keras' `__new__` hides them."""
    if what != "class" or arguments != "(*args, **kwargs)":
        return arguments, returned
    parameters = list(inspect.signature(thing.__init__).parameters.values())[1:]
    return str(inspect.Signature(parameters)), returned


def describe(app, doctree):
    """Gives each figure its caption, the paragraph below its cell, as text for those who do not see it."""
    for cell in doctree.findall(nodes.container):
        caption = cell.next_node(descend=False, siblings=True)
        text = " ".join(caption.astext().split()) if isinstance(caption, nodes.paragraph) else ""
        if "cell" in cell["classes"] and text.startswith("Figure"):
            for picture in cell.findall(nodes.image):
                picture["alt"] = text


def setup(app):
    """Called by Sphinx."""
    app.connect("config-inited", gather)
    app.connect("autodoc-process-signature", signature)
    app.connect("doctree-read", describe)
