"""What a check found: findings, each with the files it is about, and a report that is read by people or by programs."""

import dataclasses
import json

SEVERITIES = ("error", "warning", "note")
SHOWN = 8  # files in a finding's text
LISTED = 12  # classes in a split's line


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Args:
        kind: A short name for programs, such as ``"size"``.
        severity: ``"error"`` would stop a training, or make its numbers wrong; ``"warning"`` would spoil it;
            ``"note"`` is good to know.
        message: What was found, and what it does.
        mend: What to do; may be empty.
        files: Files that it is about, each with what is wrong with it where they differ: ``(name, detail)``.

    Example:

    >>> print(Finding("size", "error", "Sizes differ.", "export the mask again.", (("a.png", "2×3, mask 3×2"),)))
    ERROR    Sizes differ. Fix: export the mask again.
               a.png: 2×3, mask 3×2
    """

    kind: str
    severity: str
    message: str
    mend: str = ""
    files: tuple = ()

    def __str__(self):
        mend = f" Fix: {self.mend}" if self.mend else ""
        lines = [f"{self.severity.upper():<8} {printable(self.message)}{mend}"]
        lines += [f"           {printable(': '.join(filter(None, file)))}" for file in self.files[:SHOWN]]
        if len(self.files) > SHOWN:
            lines.append(f"           … and {len(self.files) - SHOWN} more")
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Report:
    """All that was found in a data set.

    Args:
        source: The folder.
        layout: ``"folder"``, ``"camvid"`` or ``"voc"``.
        counts: Number of images in each split.
        class_names: Names of the classes, by id.
        shares: For each split, the share of labelled pixels of each class, and of all pixels the share of ``"void"``.
        findings: A `Finding` for each thing found, errors first.

    Example:

    >>> shares = {"train": {"road": 0.75, "sky": 0.25, "void": 0.1}}
    >>> print(Report("my_data", "folder", {"train": 3}, ["road", "sky"], shares, []))
    my_data: layout folder; train 3; 2 classes
      train: 75.0% road, 25.0% sky; of all pixels 10.0% void
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
        """Whether nothing was found that would stop a training or make its numbers wrong."""
        return not any(finding.severity == "error" for finding in self.findings)

    def __str__(self):
        counts = ", ".join(f"{split} {count}" for split, count in self.counts.items()) or "no images"
        lines = [f"{printable(self.source)}: layout {self.layout}; {counts}; {len(self.class_names)} classes"]
        lines += [self._told_shares(split) for split in self.shares]
        lines += [str(finding) for finding in self.findings]
        tally = {level: sum(finding.severity == level for finding in self.findings) for level in SEVERITIES}
        told = ", ".join(f"{count} {level}{'s' * (count != 1)}" for level, count in tally.items())
        lines.append(f"{'Ready to train' if self.ok else 'Not ready'}: {told}.")
        return "\n".join(lines)

    def _told_shares(self, split):
        """One line: the classes of a split by their share of its labelled pixels, the largest first."""
        shares = dict(self.shares[split])
        void = shares.pop("void")
        largest = sorted(shares.items(), key=lambda share: -share[1])
        told = [f"{share:.1%} {name}" for name, share in largest[:LISTED]]
        told += [f"{len(largest) - LISTED} classes more"] if len(largest) > LISTED else []
        return f"  {printable(split)}: {printable(', '.join(told))}; of all pixels {void:.1%} void"

    def to_json(self):
        """All of it, every file named, as JSON."""
        content = dataclasses.asdict(self) | {"ok": self.ok}
        return json.dumps(content, indent=1, ensure_ascii=True)


def printable(text):
    """A text in one line: control characters, which would fool a terminal, are escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(text))
