"""Staged training, as in Table 2 of the paper: FCN-32s-fixed, FCN-32s, FCN-16s and FCN-8s, one after the other.

Reference: Long, Shelhamer & Darrell (CVPR 2015), §4.2–4.3 and Table 2.
"""

import dataclasses
import functools

from .._files import user_path, write_json, write_text
from ..losses import count_pixels
from ..metrics import METRICS
from ..models import fcn
from .data import describe_splits, load_splits, prepare_splits
from .recipes import PUBLISHED, STARTS_FROM, find_recipe
from .run import Run
from .stages import STAGED_RECIPES


class StagedTraining:
    """Trains the stages one after the other, and makes a table of their metrics.

    Each stage is a `fcn_keras.training.Run` in its own folder under `directory`. ``table.json`` and ``table.md`` next
    to these folders hold the metrics. After an interruption, `run` continues after the last whole epoch. On a CPU an
    interrupted run ends with the same bits as an uninterrupted one.

    Args:
        directory: Folder of the stages.
        recipe: The `StagedRecipe`. Its data and splits are not read: `train` and `validation` are.
        train: Function from an integer, different for each epoch, to a `tf.data.Dataset` of batches (images, masks).
        validation: Dataset of the batches to measure on.
        class_names: Names of the classes, background included.
        loss: The loss. By default that of the recipe. If its class weights depend on the data, the pixels of the
            training batches are counted.
        seed: Seed of the stages.
        settings: Dict for JSON of what else is needed to repeat the training, such as the name of the data.
        **options: Arguments of `fcn_keras.training.Run`, such as ``verbose``. By default, a stage is measured only at
            its end, and no pictures are drawn.

    Raises:
        ValueError: If a stage comes before the stage that it starts from.

    Example:

    >>> stages = STAGED_RECIPES["shapes"].stages[1:3]  # FCN-32s and FCN-16s
    >>> recipe = dataclasses.replace(STAGED_RECIPES["shapes"], stages=stages)
    >>> print(StagedTraining("runs/demo", recipe, train, validation, names).run())  # doctest: +SKIP

    Reference: Long et al. (CVPR 2015), §4.2–4.3, Table 2.
    """

    def __init__(
        self, directory, recipe, train, validation, class_names, *, loss=None, seed=0, settings=None, **options
    ):
        self.directory, self.recipe, self.train, self.validation = user_path(directory), recipe, train, validation
        self.class_names, self.seed, self.settings = class_names, seed, settings or {}
        self.loss = loss or recipe.shared.make_loss(
            lambda: count_pixels(self.train(seed), len(class_names)), class_names
        )
        self.options = {"validate_every": 0, "samples": 0} | options
        if self.options.get("devices") is not None:
            raise ValueError("Found devices for staged training: expected None. Fix: train one net with train.")
        names = [stage.name for stage in self.recipe.stages]
        for name in names:
            start = STARTS_FROM.get(name)
            if start is not None and start not in names[: names.index(name)]:
                raise ValueError(f"Found stage {name} without {start} before it: {name} starts from {start}.")

    def run(self):
        """Trains the stages that are not trained yet.

        Returns:
            The table, as Markdown.

        Raises:
            ValueError, FloatingPointError, OSError: As in `fcn_keras.training.Run.run`.
        """
        for number, stage in enumerate(self.recipe.stages):
            self._run(stage, seed=100_003 * self.seed + 1_009 * number).run()
            self._write_table()
        return self.table()

    def model(self, name):
        """The trained model of a stage.

        Args:
            name: Name of the stage.

        Raises:
            ValueError: If there is no such stage, or if it is not finished.
        """
        run = self._run(self._stage(name))
        if not run.finished:
            raise ValueError(f"Stage {name} in {self.directory} is not finished. Fix: call run().")
        return run.model()

    def results(self):
        """Results of the finished stages: a dict from names to what `fcn_keras.training.Run.results` returns."""
        runs = {stage.name: self._run(stage) for stage in self.recipe.stages}
        return {name: run.results() for name, run in runs.items() if run.finished}

    def table(self):
        """The metrics of the finished stages in percent, as a Markdown table like Table 2."""
        return markdown_table(self._metrics(), self.recipe.published)

    def record(self, name):
        """How far a stage is; see `fcn_keras.training.Run.record`."""
        return self._run(self._stage(name)).record()

    def _metrics(self):
        return {name: result["metrics"] for name, result in self.results().items()}

    def _stage(self, name):
        stages = {stage.name: stage for stage in self.recipe.stages}
        if name not in stages:
            raise ValueError(f"Found stage {name!r}: expected one of {', '.join(stages)}.")
        return stages[name]

    def _run(self, stage, seed=0):
        return Run(
            self.directory / stage.name,
            lambda: self._start(stage.name),
            dataclasses.replace(self.recipe.shared, learning_rate=stage.learning_rate).make_optimizer,
            self.train,
            self.validation,
            self.class_names,
            stage.epochs,
            settings={**self._settings, "net": stage.name, "learning_rate": stage.learning_rate},
            loss=self.loss,
            seed=seed,
            name=stage.name,
            **self.options,
        )

    @functools.cached_property
    def _settings(self):
        return self.settings | self.recipe.shared.describe()

    def _start(self, name):
        """The net of a stage before its first epoch."""
        if name in STARTS_FROM:
            return fcn.upgrade(self.model(STARTS_FROM[name]), self.recipe.shared.upsampling)
        return self.recipe.shared.build(len(self.class_names), name)

    def _write_table(self):
        write_text(self.directory / "table.md", self.table())
        write_json(self.directory / "table.json", self._metrics())


def prepare_stages(recipe, directory, *, source=None, data_dir=None, splits=None, seed=0, **options):
    """Prepares the data of a recipe for staged training. Call ``run()`` of the result to train the stages.

    Args:
        recipe: A `StagedRecipe`, or a name in `STAGED_RECIPES`.
        directory: Folder of the stages.
        source, data_dir: As in `fcn_keras.datasets.prepare`.
        splits: The split to train on and the split to measure on, such as ``("train[:100]", "test")``. By default those
            of the recipe.
        seed: Seed of the stages.
        **options: Passed to `fcn_keras.training.StagedTraining`.

    Returns:
        A `fcn_keras.training.StagedTraining`.

    Raises:
        ValueError: If there is no such recipe, or the data cannot be prepared.

    Example:

    >>> table = prepare_stages("shapes", "runs/shapes").run()  # doctest: +SKIP
    """
    recipe = find_recipe(recipe, STAGED_RECIPES)
    splits, shared = splits or recipe.splits, recipe.shared
    builders = prepare_splits(recipe.data, splits, source=source, data_dir=data_dir)
    metadata = builders[0].info.metadata
    class_names = list(metadata["class_names"])
    batches, validation, uncut = load_splits(shared, builders, splits)
    return StagedTraining(
        directory,
        recipe,
        batches,
        validation,
        class_names,
        loss=shared.make_loss(lambda: count_pixels(uncut(), len(class_names)), class_names),
        seed=seed,
        settings=describe_splits(recipe.data, builders, splits),
        **{"palette": metadata["palette"]} | options,
    )


def markdown_table(results, published="cvpr"):
    """Formats the metrics of several nets like the paper's Table 2.

    Args:
        results: Dict from names of nets to dicts of the four metrics, in ``[0, 1]``.
        published: Published numbers to print next to ours, for the nets that have them: ``"cvpr"`` for the paper's
            Table 2, ``"released"`` for the nets that the authors released, or None.

    Returns:
        Markdown, in percent with one decimal. Published numbers are in brackets, and a line below says what they are.

    Example:

    >>> print(markdown_table({"FCN-8s": dict(zip(METRICS, (0.9, 0.8, 0.7, 0.6)))}))
    | net | pixel acc. | mean acc. | mean IoU | f.w. IoU |
    |---|---|---|---|---|
    | FCN-8s | 90.0 (90.3) | 80.0 (75.9) | 70.0 (62.7) | 60.0 (83.2) |
    <BLANKLINE>
    In brackets: Table 2 of the CVPR paper, on PASCAL VOC2011.
    <BLANKLINE>

    Reference: Long et al. (CVPR 2015), Table 2.
    """
    source, theirs = PUBLISHED[published] if published else ("", {})
    lines = ["| net | pixel acc. | mean acc. | mean IoU | f.w. IoU |", "|---|---|---|---|---|"]
    for name, metrics in results.items():
        cells = [f"{100 * metrics[metric]:.1f}" for metric in METRICS]
        if name in theirs:
            cells = [f"{cell} ({number})" for cell, number in zip(cells, theirs[name], strict=True)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", source] if set(results) & set(theirs) else []
    return "\n".join(lines) + "\n"
