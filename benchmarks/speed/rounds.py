"""Interleaved rounds: every engine has its own process, and the contestants take turns, one measurement each.

Other work on the machine affects all contestants of a round alike. Medians over the rounds are compared.
"""

import collections
import dataclasses
import gc
import importlib
import importlib.util
import multiprocessing
import os
import pathlib
import re
import statistics
import time
import unittest.mock

# Before the engine is imported. Threads of one engine that spin while they wait would slow the others, and on a GPU
# each would take all memory.
ENVIRONMENT = {
    "tensorflow": {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "TF_FORCE_GPU_ALLOW_GROWTH": "true"},
    "tensorflow, malloc": {
        **{"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"},
        "TF_ONEDNN_USE_SYSTEM_ALLOCATOR": "1",  # else TensorFlow keeps what it once had, of initialising, too
    },
    "jax": {"KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
    "keras on torch": {"KERAS_BACKEND": "torch", "OMP_WAIT_POLICY": "PASSIVE"},
    "torch": {"OMP_WAIT_POLICY": "PASSIVE"},
    "runtimes": {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"},
    "commands": {"TF_CPP_MIN_LOG_LEVEL": "3"},
}
SIDES = {
    **dict.fromkeys(("tensorflow", "tensorflow, malloc", "jax", "keras on torch"), "keras_side"),
    **{"torch": "torch_side", "runtimes": "runtime_side", "commands": "command_side"},
}


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One way to do the work of a case: an ``engine``, and a ``variant`` by its name in the engine's module."""

    engine: str
    variant: str

    def __str__(self):
        return f"{self.engine}: {self.variant}"

    def is_here(self):
        """Whether the packages that it needs are installed."""
        other = {"runtimes": "onnxruntime", "commands": self.variant.split()[-1], "keras on torch": "torch"}
        needed = other.get(self.engine, self.engine.split(",")[0])
        if self.variant.startswith("torchvision"):
            needed = "torchvision"
        return importlib.util.find_spec(needed) is not None


class Engine:
    """A process that prepares work, and does it on demand.

    Raises:
        RuntimeError: From `ask`, with the message of an error in the process, or if the process died.
    """

    def __init__(self, name):
        self.name = name
        with unittest.mock.patch.dict(os.environ, ENVIRONMENT[name]):  # a process inherits it
            context = multiprocessing.get_context("spawn")
            self.line, there = context.Pipe()
            self.process = context.Process(target=serve, args=(there, SIDES[name]), daemon=True)
            self.process.start()
        there.close()

    def ask(self, order, *words):
        """The answer to ``prepare`` (a variant, a case), ``run`` (a variant) or ``drop``: seconds, and bytes held.

        The bytes are the peak since the last order, and the memory held now; NaN on systems other than Linux.
        """
        try:
            self.line.send((order, *words))
            done, answer = self.line.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            self.process.join()
            raise RuntimeError(f"the process ended with status {self.process.exitcode}") from error
        if not done:
            raise RuntimeError(answer)
        return answer

    def close(self):
        """Ends the process."""
        self.process.kill()
        self.process.join()


def serve(line, side):
    """What an engine's process does."""
    module = importlib.import_module(f".{side}", __package__)
    ready = {}
    while True:
        try:
            order, *words = line.recv()
        except EOFError:
            return
        forget_peak()
        started = time.perf_counter()
        try:
            if order == "prepare":
                variant, case = words
                ready[variant] = module.prepare(variant, case)
                ready[variant]()  # traces, compiles, fills caches
            elif order == "run":
                ready[words[0]]()
            else:
                ready.clear()
                gc.collect()
            line.send((True, {"seconds": time.perf_counter() - started, **memory()}))
        except Exception as error:
            line.send((False, f"{type(error).__name__}: {str(error)[:300]}"))


def memory():
    """Bytes of this process: ``peak`` since `forget_peak`, and ``held`` now."""
    status = pathlib.Path("/proc/self/status")
    text = status.read_text() if status.exists() else ""
    found = dict(re.findall(r"^(VmHWM|VmRSS):\s+(\d+) kB", text, re.MULTILINE))
    return {key: 1024 * float(found.get(name, "nan")) for key, name in (("peak", "VmHWM"), ("held", "VmRSS"))}


def forget_peak():
    """Sets the peak to the memory held now, where Linux allows it."""
    switch = pathlib.Path("/proc/self/clear_refs")
    if switch.exists():
        switch.write_text("5")


class Race:
    """Measures cases. An engine starts when it is first needed, and keeps running.

    Args:
        rounds: Measurements of each contestant.

    Example:

    >>> Race(rounds=5).run({"part": "forward", "size": 224}, [Contestant("torch", "eager")])  # doctest: +SKIP
    {'torch: eager': {'seconds': 0.42, 'fastest': 0.41, 'first': 1.3, 'rounds': 5}}
    """

    def __init__(self, rounds):
        self.rounds, self.engines = rounds, {}

    def run(self, case, contestants):
        """A dict from each contestant to its median, fastest and first time in seconds, or to its ``error``.

        A case with ``alone`` has a new process for each measurement. It also gives ``start``, the seconds from the
        start of the process to the first result, and ``memory``, the peak of a later run beyond that of the runtime.
        """
        case = dict(case)
        measure = self._alone if case.pop("alone", False) else self._together
        rounds = case.pop("rounds", self.rounds)
        measured, errors = measure(case, contestants, rounds)
        return errors | {str(who): summary(found) for who, found in measured.items() if str(who) not in errors}

    def _together(self, case, contestants, rounds):
        errors, measured = {}, {}
        for contestant in contestants:
            if str(contestant) not in errors:
                first = self._ask(errors, contestant, "prepare", contestant.variant, case)
                measured[contestant] = [{"first": first}] if first is not None else []
                self._note_lost(errors, contestants)
        for _ in range(rounds):
            for contestant in contestants:
                if str(contestant) not in errors:
                    measured[contestant].append({"seconds": self._ask(errors, contestant, "run", contestant.variant)})
                    self._note_lost(errors, contestants)
        for engine in self.engines.values():
            engine.ask("drop")
        return measured, errors

    def _alone(self, case, contestants, rounds):
        self.close()
        errors, measured = {}, collections.defaultdict(list)
        for contestant in contestants * rounds:
            if str(contestant) not in errors:
                measured[contestant].append(self._in_new_process(errors, contestant, case))
                self.close()
        return measured, errors

    def _in_new_process(self, errors, contestant, case):
        started = time.perf_counter()
        engine = self.engines[contestant.engine] = Engine(contestant.engine)
        try:
            imported = engine.ask("drop")
            first = engine.ask("prepare", contestant.variant, case)
            start = time.perf_counter() - started
            later = engine.ask("run", contestant.variant)
        except RuntimeError as error:
            errors[str(contestant)] = {"error": str(error)}
            return {}
        numbers = {"first": first["seconds"], "start": start, "seconds": later["seconds"]}
        return {**numbers, "memory": later["peak"] - imported["held"]}

    def close(self):
        """Ends all engines."""
        while self.engines:
            self.engines.popitem()[1].close()

    def _ask(self, errors, contestant, *words):
        """An engine's seconds; None if it failed, which is recorded. A dead engine is replaced at the next need."""
        name = contestant.engine
        engine = self.engines[name] = self.engines.get(name) or Engine(name)
        try:
            return engine.ask(*words)["seconds"]
        except RuntimeError as error:
            errors[str(contestant)] = {"error": str(error)}
            if not engine.process.is_alive():
                del self.engines[name]
            return None

    def _note_lost(self, errors, contestants):
        """Forgets what was prepared in a process that has ended."""
        for failed in [contestant for contestant in contestants if str(contestant) in errors]:
            if failed.engine not in self.engines:
                lost = [str(contestant) for contestant in contestants if contestant.engine == failed.engine]
                errors |= dict.fromkeys(lost, errors[str(failed)])


def summary(measured):
    """Medians by name; of the seconds also the fastest, and the number of rounds.

    Example:

    >>> summary([{"first": 9.0}, {"seconds": 2.0}, {"seconds": 1.0}, {"seconds": 4.0}])
    {'first': 9.0, 'seconds': 2.0, 'fastest': 1.0, 'rounds': 3}
    """
    names = {name: None for numbers in measured for name in numbers}
    lists = {name: [numbers[name] for numbers in measured if name in numbers] for name in names}
    medians = {name: statistics.median(numbers) for name, numbers in lists.items()}
    return {**medians, "fastest": min(lists["seconds"]), "rounds": len(lists["seconds"])}
