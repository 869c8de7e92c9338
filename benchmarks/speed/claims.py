"""The goals of the project, each a ratio in one run: reached, missed, or not measured."""

import math
import statistics

OURS = "tensorflow: ours"


def table(found):
    """Markdown: a line for each goal."""
    cases = {record["name"]: record["results"] for record in found}
    lines = ["| goal | result | |", "|---|---|---|"]
    for text, expected, number in claims(cases, found):
        at_most = expected < 0
        reached = number is not None and (number <= -expected if at_most else number >= expected)
        verdict = "not measured" if number is None else "reached" if reached else "missed"
        value = "–" if number is None else f"{number:.2f}"
        lines.append(f"| {text}: {'at most' if at_most else 'at least'} {abs(expected):g} | {value} | {verdict} |")
    return "\n".join(lines) + "\n"


def claims(cases, found):
    """Triples: the goal in words, its limit (negative: at most), and the measured number or None."""
    ratio = lambda name, other, ours=OURS: _ratio(cases.get(name, {}), other, ours)  # noqa: E731
    yield "upsampling ×32, dense ÷ ours", 4, ratio("upsampling ×32", "tensorflow: dense")
    yield "the same, both by XLA", 50, ratio("upsampling ×32", "tensorflow: dense, XLA", "tensorflow: ours, XLA")
    depthwise = ("tensorflow: dense", "tensorflow: depthwise")
    yield "×32 learned, with gradients, dense ÷ depthwise", 4, ratio("upsampling ×32, gradients", *depthwise)
    depthwise = ("tensorflow: dense, XLA", "tensorflow: depthwise, XLA")
    yield "the same, both by XLA", 50, ratio("upsampling ×32, gradients", *depthwise)
    for name, results in cases.items():
        if name.startswith(("forward FCN-8s", "step FCN-8s")):
            yield f"{name}, PyTorch's best ÷ ours", 1, _against_torch(results)
    for name in cases:
        if name.startswith(("forward FCN-8s mobilenet_v2", "step FCN-8s mobilenet_v2")):
            yield f"{name}, dense ÷ ours", 1.5, ratio(name, "tensorflow: dense")
            if name.startswith("forward"):
                yield f"{name}, dense ÷ folded", 1.5, ratio(name, "tensorflow: dense", "tensorflow: folded")
    yield "metric, 500 × 500, MeanIoU ÷ ours", 5, ratio("metric, logits", "tensorflow: MeanIoU")
    yield "metric from logits, ours ÷ bincount of ids", -2, ratio("metric, logits", OURS, "tensorflow: bincount")
    yield "metric from ids, ours ÷ bincount", -2, ratio("metric, ids", OURS, "tensorflow: bincount")
    for size in (224, 384):
        yield f"loss and metric, share of a MobileNetV2 step of {size}", -0.05, _share(cases, size)
    yield "input pipeline ÷ MobileNetV2 step, images a second", 4, _pipeline(cases)
    for engine in (OURS, "tensorflow, malloc: ours"):
        yield f"peak memory of VGG16's FCN-8s, {engine} ÷ PyTorch's", -1.2, _memory(cases, engine)
    yield "slope of time against pixels, logarithmic", -1.1, _slope(found)


def growth(found):
    """Sides of the images, and seconds, of the cases that measure growth."""
    pairs = [(record["case"]["size"], record["results"][OURS]) for record in found if record["name"][:6] == "growth"]
    pairs = [(side, result["seconds"]) for side, result in pairs if "seconds" in result]
    return [side for side, _ in pairs], [seconds for _, seconds in pairs]


def _ratio(results, other, ours):
    values = [results.get(who, {}).get("seconds") for who in (other, ours)]
    return None if None in values else values[0] / values[1]


def _against_torch(results):
    times = [result["seconds"] for who, result in results.items() if who[:5] == "torch" and "seconds" in result]
    ours = results.get(OURS, {}).get("seconds")
    return min(times) / ours if times and ours else None


def _share(cases, size):
    names = (f"loss {size}, batch 2", f"metric {size}, batch 2", f"step FCN-8s mobilenet_v2 {size}, batch 2")
    times = [cases.get(name, {}).get(OURS, {}).get("seconds") for name in names]
    return None if None in times else (times[0] + times[1]) / times[2]


def _pipeline(cases):
    one_pass = cases.get("pipeline 224", {}).get(OURS, {}).get("seconds")
    step = cases.get("step FCN-8s mobilenet_v2 224, batch 2", {}).get(OURS, {}).get("seconds")
    return (64 / one_pass) / (2 / step) if one_pass and step else None


def _memory(cases, engine):
    results = cases.get("alone FCN-8s vgg16 512, batch 1", {})
    theirs = [result["memory"] for who, result in results.items() if who[:5] == "torch" and "memory" in result]
    ours = results.get(engine, {}).get("memory")
    return ours / min(theirs) if theirs and ours else None


def _slope(found):
    sides, seconds = growth(found)
    if len(sides) < 3:
        return None
    return statistics.linear_regression([2 * math.log(side) for side in sides], list(map(math.log, seconds))).slope
