"""Interleaved rounds: every engine in a process of its own, one measurement at a time, contestant after contestant.

What else the machine does meets all contestants of a round alike; medians over the rounds are compared.
"""

import dataclasses
import gc
import importlib
import multiprocessing
import os
import statistics
import time
import unittest.mock

# Before the engine is imported. Threads of one engine that spin while they wait would slow the others.
ENVIRONMENT = {
    "tensorflow": {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
    "jax": {"KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"},
    "torch": {"OMP_WAIT_POLICY": "PASSIVE"},
    "runtimes": {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
}
SIDES = {"tensorflow": "keras_side", "jax": "keras_side", "torch": "torch_side", "runtimes": "runtime_side"}


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One way to do a case's work: ``engine`` and ``variant``, as the engine's side names it."""

    engine: str
    variant: str

    def __str__(self):
        return f"{self.engine}: {self.variant}"


class Engine:
    """A process that prepares work and does it when told.

    Raises:
        RuntimeError: From `ask`, with the words of an error over there, or if the process died.
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
        """The answer to ``prepare`` (a variant, a case), ``run`` (a variant) or ``drop``."""
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
            line.send((True, time.perf_counter() - started))
        except Exception as error:
            line.send((False, f"{type(error).__name__}: {str(error)[:300]}"))


class Race:
    """Measures cases; engines start when first needed and stay.

    Args:
        rounds: Measurements of each contestant.

    Example:

    >>> Race(rounds=5).run({"part": "forward", "size": 224}, [Contestant("torch", "eager")])  # doctest: +SKIP
    {'torch: eager': {'seconds': 0.42, 'fastest': 0.41, 'first': 1.3, 'rounds': 5}}
    """

    def __init__(self, rounds):
        self.rounds, self.engines = rounds, {}

    def run(self, case, contestants):
        """A dict from each contestant to its median, fastest and first time in seconds, or to its ``error``."""
        found, times = {}, {}
        for contestant in contestants:
            first = self._ask(found, contestant, "prepare", contestant.variant, case)
            if first is not None:
                found[str(contestant)], times[contestant] = {"first": first}, []
        for _ in range(self.rounds):
            for contestant in list(times):
                seconds = self._ask(found, contestant, "run", contestant.variant)
                if seconds is None:
                    del times[contestant]
                else:
                    times[contestant].append(seconds)
        for contestant, all_times in times.items():
            found[str(contestant)] |= {
                "seconds": statistics.median(all_times),
                "fastest": min(all_times),
                "rounds": len(all_times),
            }
        for engine in self.engines.values():
            engine.ask("drop")
        return found

    def close(self):
        """Ends all engines."""
        while self.engines:
            self.engines.popitem()[1].close()

    def _ask(self, found, contestant, *words):
        """An engine's answer; None if it failed, which is noted. A dead engine is replaced when next needed."""
        name = contestant.engine
        engine = self.engines[name] = self.engines.get(name) or Engine(name)
        try:
            return engine.ask(*words)
        except RuntimeError as error:
            found[str(contestant)] = {"error": str(error)}
            if not engine.process.is_alive():
                del self.engines[name]
            return None
