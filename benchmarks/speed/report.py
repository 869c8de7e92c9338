"""From the files of the cases to one table and one chart."""

import json
import pathlib
import re

import matplotlib.figure

from fcn_keras.files import write_beside

FIRST = ("tensorflow: ours", "runtimes: keras")


def path_of(directory, name):
    """The file of a case."""
    return pathlib.Path(directory) / f"{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-').lower()}.json"


def write(directory, names):
    """Writes ``table.md`` and ``chart.png`` of what there is, in the order of `names`; returns the table."""
    paths = [path_of(directory, name) for name in names]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    text = table(found)
    write_beside(pathlib.Path(directory) / "table.md", lambda beside: beside.write_text(text, encoding="utf-8"))
    write_beside(pathlib.Path(directory) / "chart.png", lambda beside: chart(found).savefig(beside, dpi=100))
    return text


def table(found):
    """Markdown: a line for each contestant of each case; ratios to ours, above 1 where ours is faster."""
    lines = ["| case | contestant | median | fastest | first call | time ÷ ours |", "|---|---|---|---|---|---|"]
    for record in found:
        ours = _ours(record)
        for who, result in record["results"].items():
            if "seconds" in result:
                ratio = f"{result['seconds'] / ours:.2f}" if ours else "–"
                times = [_time(result[key]) for key in ("seconds", "fastest", "first")]
                lines.append(f"| {record['name']} | {who} | {' | '.join(times)} | {ratio} |")
            else:
                lines.append(f"| {record['name']} | {who} | {result['error'][:80]} | – | – | – |")
    return "\n".join(lines) + "\n"


def chart(found):
    """Bars: for each case, the best of each engine, relative to ours on TensorFlow."""
    shown = [record for record in found if record["case"]["part"] in ("forward", "step") and len(record["results"]) > 1]
    figure = matplotlib.figure.Figure(figsize=(9, 0.5 + 0.6 * max(1, len(shown))), layout="constrained")
    axes = figure.subplots()
    kinds = {
        "ours": lambda who: who == FIRST[0],
        "dense Conv2DTranspose": lambda who: who == "tensorflow: dense",
        "ours on JAX": lambda who: who == "jax: ours",
        "PyTorch, its best": lambda who: who.startswith("torch"),
    }
    height = 0.8 / len(kinds)
    for row, (label, belongs) in enumerate(kinds.items()):
        ratios = [_ratio(record, belongs) for record in shown]
        places = [index + (row - 1.5) * height for index in range(len(shown))]
        axes.barh(places, ratios, height, label=label)
    axes.set_yticks(range(len(shown)), [record["name"] for record in shown])
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("time relative to ours on TensorFlow; longer is slower")
    axes.legend()
    return figure


def _ours(record):
    """The time that the others of a case are compared with."""
    return next((record["results"][who].get("seconds") for who in FIRST if who in record["results"]), None)


def _ratio(record, belongs):
    times = [result["seconds"] for who, result in record["results"].items() if belongs(who) and "seconds" in result]
    ours = _ours(record)
    return min(times) / ours if times and ours else 0


def _time(seconds):
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
