"""The house stays small: few entries, imports that point one way, short files, and no public name without an example."""

import ast
import graphlib
import importlib
import inspect
import pathlib
import pkgutil

import conftest
import pytest

import fcn_keras

TESTS = pathlib.Path(__file__).parent
ROOT = pathlib.Path(fcn_keras.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MODULES = sorted(m.name for m in pkgutil.walk_packages([str(ROOT)], "fcn_keras.") if not m.name.endswith("__main__"))

#: From the bottom to the top: a room imports from the rooms below it, never from one beside it.
STOREYS = (
    ("_files",),
    ("layers",),
    ("geometry", "losses", "metrics"),
    ("datasets", "models"),
    ("visualization",),
    ("inference",),
    ("paper",),
    ("export", "training"),
    ("instances",),
    ("cli",),
    ("__main__", "__init__"),
)
STOREY = {room: number for number, rooms in enumerate(STOREYS) for room in rooms}


def module_of(path):
    """The dotted name of a file of the package."""
    parts = ["fcn_keras", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


NAMES = {module_of(path): path for path in FILES}


def imported(path):
    """The modules of the package that a file imports anywhere, in functions too, and the lines that do."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    package = package.removesuffix(".__init__")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            source = ".".join([*start, *([node.module] if node.module else [])])
            found = [f"{source}.{alias.name}" for alias in node.names]
            found = [name if name in NAMES else source for name in found]
        else:
            continue
        for name in found:
            if name.split(".")[0] == "fcn_keras":
                yield name, f"{path.relative_to(ROOT)}:{node.lineno} imports {name}"


def room_of(module):
    return [*module.split("."), "__init__"][1]


def test_at_most_16_entries():
    entries = {path.name for path in ROOT.iterdir()} - {"__pycache__"}
    assert len(entries) <= 16, sorted(entries)
    assert {name.removesuffix(".py") for name in entries} == set(STOREY)


def test_imports_point_down():
    wrong = [
        line
        for path in FILES
        for name, line in imported(path)
        if room_of(name) != room_of(module_of(path)) and STOREY[room_of(name)] >= STOREY[room_of(module_of(path))]
    ]
    assert not wrong, "\n".join(wrong)


def test_imports_make_no_circle():
    """Also inside a room; a package's `__init__` stands above its modules, which do not import from it."""
    graph = {module_of(path): {name for name, _ in imported(path)} for path in FILES}
    list(graphlib.TopologicalSorter(graph).static_order())


def test_what_is_called_slow_is_there():
    for name in conftest.SLOW:
        path, _, test = name.partition("::")
        assert (TESTS / path).exists(), name
        assert not test or f"def {test}(" in (TESTS / path).read_text(encoding="utf-8"), name


def test_no_file_has_more_than_300_lines():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    long = {name: lines for name, lines in lengths.items() if lines > 300}
    assert not long, long


def theirs(cls, name):
    """Whether a method's name is one of Python's, Keras' or TFDS' own: their documentation holds."""
    bases = [base for base in cls.__mro__ if not base.__module__.startswith("fcn_keras")]
    return any(hasattr(base, name) for base in bases) or name in ("get_config", "from_config")


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_documented(name):
    module, lacking = importlib.import_module(name), []
    if not inspect.getdoc(module):
        lacking.append(name)
    for attribute, value in vars(module).items():
        ours = getattr(value, "__module__", None) == name and (inspect.isfunction(value) or inspect.isclass(value))
        if attribute.startswith("_") or not ours:
            continue
        lacking += [] if inspect.getdoc(value) else [f"{name}.{attribute}"]
        for method, member in vars(value).items() if inspect.isclass(value) else ():
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if inspect.isfunction(function) and not method.startswith("_") and not theirs(value, method):
                lacking += [] if inspect.getdoc(function) else [f"{name}.{attribute}.{method}"]
    assert not lacking, "\n".join(lacking)


OFFERING = [name for name in MODULES if name.count(".") == 1 or NAMES[name].name == "__init__.py"]


@pytest.mark.parametrize("name", ["fcn_keras", *OFFERING])
def test_what_a_room_offers_has_an_example(name):
    """What a room offers: functions and classes of its ``__all__``. `tests/test_doctests.py` runs the examples."""
    module = importlib.import_module(name)
    own = [attribute for attribute, value in vars(module).items() if getattr(value, "__module__", None) == name]
    offered = getattr(module, "__all__", [attribute for attribute in own if not attribute.startswith("_")])
    offered = {attribute: getattr(module, attribute) for attribute in offered}
    of_code = {name: value for name, value in offered.items() if inspect.isfunction(value) or inspect.isclass(value)}
    lacking = [attribute for attribute, value in of_code.items() if ">>>" not in (value.__doc__ or "")]
    assert not lacking, ", ".join(lacking)
