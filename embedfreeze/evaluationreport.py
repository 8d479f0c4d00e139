"""An evaluation as people read it, from what `Evaluation.to_dict` gives."""

from __future__ import annotations

from typing import Any

from embedfreeze.plainlines import plain_table

__all__ = ["plain"]


def plain(report: dict[str, Any]) -> str:
    """Tables of similarities and analogies, and notes."""
    where = f" of {report['source']}" if report["source"] else ""
    lines = [f"{report['searched']:,} of {report['rows']:,} rows{where} took part"]
    if report["pairs"]:
        lines += ["", plain_table([_PAIR_HEAD, *map(_pair_cells, report["pairs"])])]
    for score in report["analogies"]:
        total = {**score, "name": "all"}
        head = [score["name"], "questions", "used", "share", "correct", "accuracy"]
        body = [_section_cells(part) for part in (*score["sections"], total)]
        lines += ["", plain_table([head, *body])]
    return "\n".join([*lines, *_notes(report)])


_PAIR_HEAD = ["similarity", "pairs", "used", "share", "Spearman", "Pearson"]


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
