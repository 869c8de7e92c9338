"""Every name and command that chapters, pages and benchmarks use exists; names stand where their module offers them."""

import ast
import importlib
import inspect
import pathlib
import re
import shlex
import types

import nbformat
import pytest
import typer

import fcn_keras
from fcn_keras.cli.app import app

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(ROOT.glob("notebooks/**/*.ipynb"))
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/**/*.md"), *ROOT.glob("*/README.md"),
                *ROOT.glob("notebooks/*.md"), *ROOT.glob("notebooks/results/*.md")])  # fmt: skip
SCRIPTS = sorted([*ROOT.glob("benchmarks/**/*.py"), *ROOT.glob("docs/*.py"), ROOT / "notebooks" / "build.py"])
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:python -m fcn_keras|fcn-keras) +([^#\n]*)", re.MULTILINE)
INLINE = re.compile(r"`(?:python -m fcn_keras|fcn-keras) +([^`]*)`")
MENTION = re.compile(r"\bfcn_keras((?:\.[A-Za-z_]\w*)+)")
FILES = [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in [*NOTEBOOKS, *PAGES, *SCRIPTS]]
FILES += [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in sorted(ROOT.glob("fcn_keras/**/*.py"))]


def pieces(path):
    """The Python code and the prose of a file, each as a list of texts."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":  # the package imports relatively, which its tests run: of its files only the docstrings
        return [] if path.is_relative_to(ROOT / "fcn_keras") else [text], [text]
    if path.suffix == ".md":
        return FENCE.findall(text), [text]
    cells = nbformat.reads(text, as_version=4).cells
    code = "\n".join(re.sub(r"^\s*[%!].*$", "", cell.source, flags=re.M) for cell in cells if cell.cell_type == "code")
    return [code], [cell.source for cell in cells if cell.cell_type == "markdown"]


def imported(tree):
    """The package's objects by the name that code gives them: ``(name, object, line)``; fails where one is missing."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "fcn_keras":
                    module = importlib.import_module(alias.name)
                    found.append((alias.asname or "fcn_keras", module if alias.asname else fcn_keras))
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == "fcn_keras":
            module = importlib.import_module(node.module)
            found += [(alias.asname or alias.name, offered(module, alias.name, imported=True)) for alias in node.names]
    return dict(found)


def offered(module, name, imported=False):
    """The attribute of a module, if it is its own: neither private nor something that it imported for itself.

    A module of a package is one of its attributes only where the package imports it, or code did so itself.
    """
    found = getattr(module, name, None)
    if found is None or isinstance(found, types.ModuleType):
        try:
            found = importlib.import_module(f"{module.__name__}.{name}")
        except ImportError:
            raise AssertionError(f"{module.__name__} has no {name}") from None
        assert imported or name in bound(module), f"{module.__name__} does not import its module {name}"
        return found
    if name in getattr(module, "__all__", ()) or (name.startswith("__") and name.endswith("__")):
        return found
    home = getattr(found, "__module__", None)
    assert home == module.__name__ or not (inspect.isroutine(found) or inspect.isclass(found)), (
        f"{module.__name__} only imports {name}; it is offered by {home}"
    )
    return found


def bound(package):
    """The modules that a package has as attributes once it is imported, or gets when they are asked for."""
    names = set(getattr(package, "__all__", ()))
    for node in ast.parse(pathlib.Path(package.__file__).read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            names |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
    return names


def resolved(node, names):
    """The object that a dotted name stands for; None where it is not the package's, or an attribute of an object."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        value = resolved(node.value, names)
        return offered(value, node.attr) if isinstance(value, types.ModuleType) else None
    return None


def rebound(tree):
    """Names that code also uses for something of its own."""
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return stored | {argument.arg for argument in ast.walk(tree) if isinstance(argument, ast.arg)}


def require_arguments(call, thing):
    """Fails where a call passes a keyword that the function does not take."""
    try:
        parameters = inspect.signature(thing.__init__ if inspect.isclass(thing) else thing).parameters
    except (TypeError, ValueError):
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    unknown = {keyword.arg for keyword in call.keywords if keyword.arg} - set(parameters)
    assert not unknown, f"{thing.__name__} takes no {', '.join(sorted(unknown))}"


def require_names(code):
    tree = ast.parse(code)
    names, own = {"fcn_keras": fcn_keras} | imported(tree), rebound(tree)
    taken = [name for name, thing in names.items() if isinstance(thing, types.ModuleType) and name in own]
    assert not taken, f"{taken} are modules of the package, and something else as well"
    names = {name: thing for name, thing in names.items() if name not in own}
    for node in ast.walk(tree):
        resolved(node, names)
        if isinstance(node, ast.Call) and callable(thing := resolved(node.func, names)):
            require_arguments(node, thing)


def require_command(line):
    """Fails where a command line names a command or an option that is not there."""
    commands = typer.main.get_command(app).commands
    name, *words = shlex.split(line)
    assert name in commands, f"fcn-keras has no command {name}"
    options = {option for parameter in commands[name].params for option in parameter.opts}
    unknown = {word.partition("=")[0] for word in words if word.startswith("-")} - options - {"--help"}
    assert not unknown, f"fcn-keras {name} takes no {', '.join(sorted(unknown))}"


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.values[0].suffix != ".py" and "CHANGELOG" not in path.id]
)
def test_commands_exist(path):
    for text in pieces(path)[1]:
        for line in [*COMMAND.findall(text), *INLINE.findall(" ".join(text.split()))]:
            if not line.startswith("-"):
                require_command(line)


@pytest.mark.parametrize("path", FILES)
def test_names_exist(path):
    code, prose = pieces(path)
    for text in code:
        require_names(text)
    for mention in [match[1] for text in prose for match in MENTION.finditer(text)]:
        thing = fcn_keras
        for name in mention.removesuffix(".py").split(".")[1:]:
            if isinstance(thing, types.ModuleType):
                thing = offered(thing, name, imported=True)


@pytest.mark.parametrize(
    "code",
    [
        "fcn_keras.models.FCN2s(2)",
        "fcn_keras.segment(model, image, tiles=3)",
        "from fcn_keras.losses import compile_with_xla as x",
        "from fcn_keras import metrics\nmetrics.ops",
        "fcn_keras.training.distribution",
        "import fcn_keras.framing",
    ],
)
def test_what_is_missing_is_found(code):
    with pytest.raises((AssertionError, ImportError)):
        require_names(code)


@pytest.mark.parametrize("line", ["ladder shapes", "train shapes --rungs", "segment net.keras a.jpg --tiles=3"])
def test_commands_that_are_missing_are_found(line):
    with pytest.raises(AssertionError, match="no"):
        require_command(line)
