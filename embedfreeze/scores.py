"""What an evaluation found: numbers, and tables of them as people read them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from embedfreeze.plainlines import plain_table

__all__ = ["AnalogyScore", "AnalogySection", "Evaluation", "PairScore"]

_PAIR_HEAD = ["similarity", "pairs", "used", "share", "Spearman", "Pearson"]
_ANALOGY_HEAD = ["analogies", "questions", "used", "share", "correct", "accuracy"]


@dataclass(frozen=True)
class PairScore:
    """Agreement with people's judgements of how similar pairs of words are.

    Attributes
    ----------
    name : str
        Of the file of judgements.
    total, used : int
        Pairs in the file, and those whose words the table has both.
    bad_lines : int
        Lines that are no pair with a number, which are left out.
    pearson, spearman : float or None
        Correlations, with the p-values of two-sided tests; None where too few pairs were used, or
        all have the same value.
    """

    name: str
    total: int
    used: int
    bad_lines: int
    pearson: float | None = None
    pearson_p: float | None = None
    spearman: float | None = None
    spearman_p: float | None = None


@dataclass(frozen=True)
class AnalogySection:
    """The questions of one kind, such as capitals: in all, used, answered rightly."""

    name: str
    total: int
    used: int
    correct: int

    @property
    def accuracy(self) -> float | None:
        """Right answers as a share of the questions used; None where none was."""
        return self.correct / self.used if self.used else None


@dataclass(frozen=True)
class AnalogyScore:
    """Questions of the kind "a is to b as c is to ..." that were answered rightly.

    Attributes
    ----------
    name : str
        Of the file of questions.
    total, used, correct : int
        Questions in the file, those whose four words the table has, and those answered rightly.
    bad_lines : int
        Lines that are no four words, which are left out.
    sections : tuple of AnalogySection
        In the order of the file.
    """

    name: str
    total: int
    used: int
    correct: int
    bad_lines: int
    sections: tuple[AnalogySection, ...]

    @property
    def accuracy(self) -> float | None:
        """Right answers as a share of the questions used; None where none was."""
        return self.correct / self.used if self.used else None


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found; printed it is a table.

    Attributes
    ----------
    source : str or None
        Where the table was read from.
    rows, dim : int
        Its shape.
    searched : int
        The first so many rows that have a row of their token took part.
    pairs : tuple of PairScore
        A file of judgements each.
    analogies : tuple of AnalogyScore
        A file of questions each.
    """

    source: str | None
    rows: int
    dim: int
    searched: int
    pairs: tuple[PairScore, ...]
    analogies: tuple[AnalogyScore, ...]

    def to_dict(self) -> dict[str, Any]:
        """All numbers, ready for JSON: None where there is none."""
        found = asdict(self)
        for score, listed in zip(self.analogies, found["analogies"], strict=True):
            listed["accuracy"] = score.accuracy
            for section, told in zip(score.sections, listed["sections"], strict=True):
                told["accuracy"] = section.accuracy
        return found

    def __str__(self) -> str:
        return _plain(self.to_dict())

    def _repr_html_(self) -> str:
        from embedfreeze.htmltext import table
        from embedfreeze.notebook import facts_html

        report = self.to_dict()
        unused = [s["name"] for s in (*report["pairs"], *report["analogies"]) if not s["used"]]
        found = {
            "took part": f"{self.searched:,} of {self.rows:,} rows of {self.dim}",
            "none used": ", ".join(unused) or None,
        }
        pairs = [_pair_cells(score) for score in report["pairs"]]
        analogies = [_section_cells(score) for score in report["analogies"]]
        tables = [
            table(head, body, numbers=range(1, len(head)))
            for head, body in ((_PAIR_HEAD, pairs), (_ANALOGY_HEAD, analogies))
            if body
        ]
        where = f" of {self.source}" if self.source else ""
        return facts_html(f"Evaluation{where}", found, *tables)


def _plain(report: dict[str, Any]) -> str:
    """Tables of similarities and analogies, and notes."""
    where = f" of {report['source']}" if report["source"] else ""
    lines = [f"{report['searched']:,} of {report['rows']:,} rows{where} took part"]
    if report["pairs"]:
        lines += ["", plain_table([_PAIR_HEAD, *map(_pair_cells, report["pairs"])])]
    for score in report["analogies"]:
        total = {**score, "name": "all"}
        head = [score["name"], *_ANALOGY_HEAD[1:]]
        body = [_section_cells(part) for part in (*score["sections"], total)]
        lines += ["", plain_table([head, *body])]
    return "\n".join([*lines, *_notes(report)])


def _pair_cells(score: dict[str, Any]) -> list[str]:
    return [
        *_used_cells(score),
        _correlation(score["spearman"]),
        _correlation(score["pearson"]),
    ]


def _section_cells(section: dict[str, Any]) -> list[str]:
    accuracy = section["accuracy"]
    return [
        *_used_cells(section),
        f"{section['correct']:,}",
        "-" if accuracy is None else f"{accuracy:.1%}",
    ]


def _used_cells(score: dict[str, Any]) -> list[str]:
    total, used = score["total"], score["used"]
    return [score["name"], f"{total:,}", f"{used:,}", f"{used / max(1, total):.1%}"]


def _correlation(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _notes(report: dict[str, Any]) -> list[str]:
    notes = []
    for score in (*report["pairs"], *report["analogies"]):
        if score["bad_lines"]:
            notes.append(f"{score['name']}: {score['bad_lines']:,} lines that cannot be read")
        if not score["used"]:
            notes.append(f"{score['name']}: none used, as the table lacks their words")
    return ["", *notes] if notes else []
