"""Shows progress as a bar on the error stream, so that the output of a command can still be piped."""

import rich.console
import rich.progress


def make_progress_bar(show=None):
    """A progress display for several tasks.

    Args:
        show: Whether to show it. None shows it if the error stream is a terminal.

    Returns:
        A `rich.progress.Progress`, to be used in a ``with`` statement.

    Example:

    >>> with make_progress_bar(show=False) as bar:
    ...     task = bar.add_task("images", total=2)
    ...     bar.advance(task)
    """
    console = rich.console.Console(stderr=True)
    columns = (*rich.progress.Progress.get_default_columns(), rich.progress.MofNCompleteColumn())
    shown = console.is_terminal if show is None else show
    return rich.progress.Progress(*columns, console=console, disable=not shown)


def track(items, what, total=None, show=None):
    """Iterates over items and shows the progress.

    Args:
        items: Iterable.
        what: What the items are, such as ``"images"``.
        total: Their number; None takes ``len(items)``, if there is one.
        show: As in `make_progress_bar`.

    Yields:
        The items.

    Example:

    >>> list(track(["a", "b"], "letters", show=False))
    ['a', 'b']
    """
    with make_progress_bar(show) as bar:
        yield from bar.track(items, total=total, description=what)
