"""Run the benchmarks and write results.md and results.json beside this file.

Every run is a fresh process on a warm page cache; contenders alternate; medians are reported, and
what counts are the ratios. `make bench`, or for a quick look
`make bench BENCH_ARGS="--scale 0.05"`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import inputs

HERE = Path(__file__).parent
Runs = dict[str, dict[str, Any]]


def run_once(case: str, contender: str, *arguments: str) -> dict[str, Any]:
    """One measurement in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.cases", case, contender, *arguments]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        command, cwd=HERE.parent, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def run_case(case: str, contenders: dict[str, list[str]], repeats: int) -> Runs:
    """Medians of each contender's numbers, the contenders alternating."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for number in range(repeats):
        for name, arguments in contenders.items():
            found[name].append(run_once(case, name, *arguments))
            print(f"{case:18} {name:12} {number + 1}: {found[name][-1]['seconds']:.4f} s")
    return {name: median_of(runs) for name, runs in found.items()}


def median_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of every number; other values must be the same in all runs."""
    merged = {}
    for key, first in runs[0].items():
        values = [run[key] for run in runs]
        if isinstance(first, float):
            merged[key] = statistics.median(values)
        elif len(set(values)) == 1:
            merged[key] = first
        else:
            raise SystemExit(f"{key} differs between runs: {values}")
    return {**merged, "runs": [run["seconds"] for run in runs]}


def measure(folder: Path, scale: float, repeats: int) -> dict[str, Runs]:
    """All cases."""
    text, binary = inputs.glove(folder, scale), inputs.binary(folder, scale)
    words, binary_words = inputs.vocabulary(text), inputs.vocabulary(binary)
    readers = {"embedfreeze": [str(text)], "polars": [str(text)], "gensim": [str(text)]}
    results = {
        "text full": run_case("text full", readers, repeats),
        "text vocabulary": run_case(
            "text vocabulary", {"embedfreeze": [str(text), str(words)]}, repeats
        ),
        "binary full": run_case(
            "binary full", {"embedfreeze": [str(binary)], "gensim": [str(binary)]}, repeats
        ),
        "binary vocabulary": run_case(
            "binary vocabulary", {"embedfreeze": [str(binary), str(binary_words)]}, repeats
        ),
        "store": run_case("store", {"embedfreeze": [str(inputs.store(folder, scale))]}, repeats),
    }
    for megabytes in (10, 500, 3600):
        path = inputs.store(folder, scale, megabytes * scale)
        results[f"check {megabytes} MB"] = run_case("check", {"embedfreeze": [str(path)]}, repeats)
    for times, size in ((1, "300 MB"), (4, "1.2 GB")):
        path = inputs.glove(folder, scale, times)
        target = str(folder / "converted.safetensors")
        results[f"convert {size} of text to a store"] = run_case(
            "convert", {"embedfreeze": [str(path), target]}, min(repeats, 3)
        )
    check_digests(results)
    return results


def check_digests(results: dict[str, Runs]) -> None:
    """Speed counts only where the results are the same."""
    for case in ("text full", "binary full"):
        digests = {name: run["digest"] for name, run in results[case].items()}
        if digests["embedfreeze"] != digests["gensim"]:
            raise SystemExit(f"{case}: results differ: {digests}")


def claims(results: dict[str, Runs]) -> list[tuple[str, str, str]]:
    """Each promise, what it asks and what was measured."""
    full, binary = results["text full"], results["binary full"]
    load, some = results["text vocabulary"]["embedfreeze"], results["binary vocabulary"]
    store = results["store"]["embedfreeze"]

    def times(slow: dict[str, Any], fast: dict[str, Any]) -> str:
        return f"{slow['seconds'] / fast['seconds']:.1f} times"

    above = load["private_mb"] - load["matrix_mb"]
    ours = full["embedfreeze"]
    found = [
        ("text, full read, against polars", "4 times", times(full["polars"], ours)),
        ("text, full read, against gensim", "150 times", times(full["gensim"], ours)),
        ("text, 20,000 tokens, against gensim's read", "700 times", times(full["gensim"], load)),
        ("text, 20,000 tokens, against polars' read", "12 times", times(full["polars"], load)),
        ("text, 20,000 tokens, memory above the matrix", "< 100 MB", f"{above:.0f} MB"),
        (
            "binary, full read, against gensim",
            "8 times",
            times(binary["gensim"], binary["embedfreeze"]),
        ),
        (
            "binary, 20,000 tokens, against gensim's read",
            "60 times",
            times(binary["gensim"], some["embedfreeze"]),
        ),
        ("store to the first lookup of a layer", "< 0.3 s", f"{store['seconds']:.3f} s"),
        ("the same, private memory", "< 100 MB", f"{store['private_mb']:.0f} MB"),
    ]
    for name, runs in results.items():
        run = runs["embedfreeze"]
        if name.startswith("check"):
            found.append((name, "< 50 us", f"{run['seconds'] * 1e6:.0f} us"))
        if name.startswith("convert"):
            found.append((f"{name}, private memory", "< 300 MB", f"{run['private_mb']:.0f} MB"))
    return found


def machine() -> str:
    """What it ran on."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("embedfreeze", "numpy", "tensorflow", "gensim", "polars")
    )
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{model}, {cores} cores, {memory:.0f} GiB; Linux {platform.release()}; "
        f"Python {platform.python_version()}; {versions}"
    )


def report(results: dict[str, Runs], scale: float, repeats: int) -> str:
    """The results as Markdown."""
    lines = [
        "# Benchmark results",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}.",
        "",
        f"Made by `make bench`: medians of {repeats} runs, each in a fresh process on a warm page "
        f"cache, contenders alternating, inputs scaled by {scale:g}. Each contender ends in one "
        "C-contiguous float32 matrix plus its tokens; where gensim reads the same file, its result "
        "has the same digest. Memory is the peak of RssAnon + RssShmem above the level after "
        "imports.",
        "",
        "| promise | asked | measured |",
        "| --- | --- | --- |",
        *(f"| {name} | {asked} | {found} |" for name, asked, found in claims(results)),
        "",
        "| case | contender | seconds | CPU seconds | private MB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for case, runs in results.items():
        for name, run in runs.items():
            cpu, private = run.get("cpu_seconds"), run.get("private_mb")
            lines.append(
                f"| {case} | {name} | {run['seconds']:.4g} | "
                f"{'' if cpu is None else f'{cpu:.4g}'} | "
                f"{'' if private is None else f'{private:.0f}'} |"
            )
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the inputs")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--inputs", type=Path, default=HERE / "inputs", help="folder, about 8 GB")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    options.inputs.mkdir(parents=True, exist_ok=True)
    results = measure(options.inputs, options.scale, options.repeats)
    text = report(results, options.scale, options.repeats)
    (options.out / "results.md").write_text(text, encoding="utf-8")
    (options.out / "results.json").write_text(
        json.dumps(results, indent=1) + "\n", encoding="utf-8"
    )
    print(text)


if __name__ == "__main__":
    main()
