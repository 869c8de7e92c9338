"""The results of a check: findings, and a report for people and for programs."""

import dataclasses
import json

SEVERITIES = ("error", "warning", "note")
SHOWN = 8  # how many files the text shows for each finding
LISTED = 12  # how many classes the text shows for each split


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Args:
        kind: A short name for programs, such as ``"size"``.
        severity: ``"error"`` would stop training or make its metrics wrong; ``"warning"`` would make the result worse;
            ``"note"`` is good to know.
        message: What was found, and what it leads to.
        fix: How to fix it. May be empty.
        files: The files with this problem, as pairs ``(name, detail)``. The detail may be empty.

    Example:

    >>> print(Finding("size", "error", "Sizes differ.", "export the mask again.", (("a.png", "2×3, mask 3×2"),)))
    ERROR    Sizes differ. Fix: export the mask again.
               a.png: 2×3, mask 3×2
    """

    kind: str
    severity: str
    message: str
    fix: str = ""
    files: tuple = ()

    def __str__(self):
        return self.to_text()

    def to_text(self, shown=SHOWN):
        """The finding as text, with at most `shown` of its files."""
        fix = f" Fix: {self.fix}" if self.fix else ""
        lines = [f"{self.severity.upper():<8} {to_printable(self.message)}{fix}"]
        lines += [f"           {to_printable(': '.join(filter(None, file)))}" for file in self.files[:shown]]
        if len(self.files) > shown:
            lines.append(f"           … and {len(self.files) - shown} more")
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything that a check found in a data set.

    Args:
        source: The folder.
        layout: ``"folder"``, ``"camvid"`` or ``"voc"``.
        counts: Number of images in each split.
        class_names: Names of the classes, by id.
        shares: For each split, the share of each class in its labelled pixels, and of ``"void"`` in all its pixels.
        findings: A `Finding` for each thing that was found, errors first.

    Example:

    >>> print(Report("my_data", "folder", {"train": 2}, ["ground"], {"train": {"ground": 1.0, "void": 0.1}}, []))
    my_data: layout folder; train 2; 1 class
      train: 100.0% ground; of all pixels, 10.0% void
    Ready to train: 0 errors, 0 warnings, 0 notes.
    """

    source: str
    layout: str
    counts: dict
    class_names: list
    shares: dict
    findings: list

    @property
    def ok(self):
        """Whether there are no errors, which would stop training or make its metrics wrong."""
        return not any(finding.severity == "error" for finding in self.findings)

    def __str__(self):
        counts = ", ".join(f"{split} {count}" for split, count in self.counts.items()) or "no images"
        classes = f"{len(self.class_names)} class{'es' * (len(self.class_names) != 1)}"
        lines = [f"{to_printable(self.source)}: layout {self.layout}; {counts}; {classes}"]
        lines += [*map(self._format_shares, self.shares), *map(str, self.findings)]
        tally = {level: sum(finding.severity == level for finding in self.findings) for level in SEVERITIES}
        found = ", ".join(f"{count} {level}{'s' * (count != 1)}" for level, count in tally.items())
        lines.append(f"{'Ready to train' if self.ok else 'Not ready'}: {found}.")
        return "\n".join(lines)

    def _format_shares(self, split):
        """A line with the classes of a split and their shares of its labelled pixels, the largest first."""
        shares = dict(self.shares[split])
        void = shares.pop("void")
        largest = sorted(shares.items(), key=lambda share: -share[1])
        parts = [f"{share:.1%} {name}" for name, share in largest[:LISTED]]
        parts += [f"{len(largest) - LISTED} more classes"] if len(largest) > LISTED else []
        return f"  {to_printable(split)}: {to_printable(', '.join(parts))}; of all pixels, {void:.1%} void"

    def to_json(self):
        """The whole report as JSON, with all files."""
        return json.dumps(dataclasses.asdict(self) | {"ok": self.ok}, indent=1, ensure_ascii=True)


def to_printable(text):
    r"""Turns a text into one line. It escapes control characters, which could change what a terminal shows.

    Example:

    >>> print(to_printable("a\nb"))
    a\nb
    """
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(text))
