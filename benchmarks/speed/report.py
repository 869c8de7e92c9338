"""Makes tables and charts from the files of the cases."""

import functools
import json
import math
import pathlib
import re

import matplotlib.figure

from fcn_keras._files import atomic_write, write_text

from . import claims

FIRST = ("tensorflow: ours", "jax: ours", "runtimes: keras", "commands: import fcn_keras")


def path_of(directory, name):
    """The file of a case."""
    return pathlib.Path(directory) / f"{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-').lower()}.json"


def write(directory, names):
    """Writes ``table.md``, ``chart.png`` and ``growth.png`` of the cases that were measured; returns the table."""
    directory = pathlib.Path(directory)
    paths = [path_of(directory, name) for name in names]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    text = f"# Speed, one run\n\n{machine(found)}\n\n{claims.table(found)}\n{table(found)}"
    write_text(directory / "table.md", text)
    atomic_write(directory / "chart.png", lambda beside: chart(found).savefig(beside, dpi=100))
    atomic_write(directory / "growth.png", lambda beside: growth(found).savefig(beside, dpi=100))
    return text


def machine(found):
    """One line that says on what machine the run was measured."""
    if not found:
        return "Nothing is measured yet."
    about = found[-1]["environment"]
    versions = ", ".join(f"{name} {about[name]}" for name in ("tensorflow", "keras", "jax", "torch") if name in about)
    system = about["platform"].partition("-")[0]  # without the kernel's build
    return f"{about['processor']}, {about['cpus']} cores, {system}; {about['date'][:10]}; {versions}."


def table(found):
    """Markdown: a line for each contestant of each case; ratios to ours, above 1 where ours is faster."""
    lines = [
        "| case | contestant | median | fastest | first call | from nothing | memory | time ÷ ours | time ÷ limit |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    limit = peak(found)
    for record in found:
        ours, floor = _ours(record), floor_of(record["case"], limit)
        for who, result in record["results"].items():
            if "error" in result:
                lines.append(f"| {record['name']} | {who} | {result['error'][:80]} |" + " – |" * 6)
                continue
            times = [_time(result.get(key)) for key in ("seconds", "fastest", "first", "start")]
            numbers = [_ratio(result["seconds"], ours), _ratio(result["seconds"], floor)]
            cells = [record["name"], who, *times, _memory(result.get("memory")), *numbers]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def peak(found):
    """Multiply-accumulates a second of the best matrix product in float32; None if none was measured."""
    rates = [
        record["case"]["side"] ** 3 / result["seconds"]
        for record in found
        if record["case"]["part"] == "matmul"
        for who, result in record["results"].items()
        if "seconds" in result and "bfloat16" not in who
    ]
    return max(rates, default=None)


def floor_of(case, limit):
    """Seconds of the case's multiply-accumulates at the limit; a training step counts as three forward passes."""
    if limit is None or case["part"] not in ("forward", "step"):
        return None
    passes = 3 if case["part"] == "step" else 1
    return passes * case["batch"] * _macs(case["backbone"], case["finest"], case["size"]) / limit


@functools.cache
def _macs(backbone, finest, size):
    import fcn_keras

    net = {32: fcn_keras.FCN32s, 16: fcn_keras.FCN16s, 8: fcn_keras.FCN8s}[finest]
    return sum(fcn_keras.models.flops.count_macs(net(21, backbone, weights=None), size, size).values())


def chart(found):
    """Points: for each case, the best of each engine, relative to ours on TensorFlow, which is the line at 1."""
    parts = ("forward", "step", "upsampling")
    shown = [record for record in found if record["case"]["part"] in parts and len(record["results"]) > 1]
    figure = matplotlib.figure.Figure(figsize=(9, 1.2 + 0.3 * max(1, len(shown))), layout="constrained")
    axes = figure.subplots()
    for (label, belongs), marker in zip(CHARTED.items(), "sDo", strict=True):
        ratios = [_best(record, belongs) / (_ours(record) or math.inf) for record in shown]
        axes.plot(ratios, range(len(shown)), marker, label=label, markersize=7, alpha=0.8)
    axes.set_yticks(range(len(shown)), [record["name"] for record in shown])
    axes.invert_yaxis()
    axes.grid(axis="y", alpha=0.3)
    axes.set_xscale("log")
    axes.set_xticks([0.5, 1, 2, 4, 8], ["½", "1", "2", "4", "8"])
    axes.minorticks_off()
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("time ÷ ours on TensorFlow; to the right is slower")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


CHARTED = {
    "dense Conv2DTranspose": lambda who: who == "tensorflow: dense",
    "ours on JAX": lambda who: who == "jax: ours",
    "PyTorch, its best": lambda who: who.startswith("torch") and "interpolated" not in who,
}


def growth(found):
    """The curve of time against pixels, both logarithmic, with a line of slope 1."""
    figure = matplotlib.figure.Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    sides, seconds = claims.growth(found)
    if sides:
        pixels = [side**2 for side in sides]
        axes.loglog(pixels, seconds, "o-", label="FCN-8s, MobileNetV2")
        axes.loglog(pixels, [seconds[-1] * n / pixels[-1] for n in pixels], "--", color="grey", label="as pixels")
        axes.set_xticks(pixels, [f"{side}²" for side in sides], minor=False)
        axes.legend()
    axes.set(xlabel="pixels of the image", ylabel="seconds, forward")
    return figure


def _ours(record):
    """The time that the other contestants of a case are compared with."""
    return next((record["results"][who].get("seconds") for who in FIRST if who in record["results"]), None)


def _best(record, belongs):
    """The shortest time of the contestants that belong; NaN, which draws nothing, if there is none."""
    results = record["results"].items()
    return min((result["seconds"] for who, result in results if belongs(who) and "seconds" in result), default=math.nan)


def _time(seconds):
    if seconds is None:
        return "–"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _memory(count):
    return "–" if count is None or math.isnan(count) else f"{count / 1e6:,.0f} MB"


def _ratio(value, of):
    return f"{value / of:.2f}" if of else "–"
