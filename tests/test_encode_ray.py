"""Batch jobs on a real Ray cluster of two nodes, started on this machine."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from test_encode import SENTENCES, as_gzip, same_folders

import embedfreeze as ef
from embedfreeze.batch.jobfolder import JobFolder
from embedfreeze.errors import EmbedFreezeError, FormatError

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow

GLOVE = SENTENCES.parent / "glove.6B.50d.sample.txt"
OPTIONS: dict[str, Any] = {"label": "label", "id": "source", "shard_bytes": 20_000}


@pytest.fixture(scope="module", name="address")
def _address() -> Iterator[str]:
    from ray import cloudpickle
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # nodes do not see this module
    cluster = Cluster()
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module", name="table")
def _table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "table.safetensors"
    vocabulary = ef.Vocabulary.from_counts(ef.count_corpus(SENTENCES, min_count=2))
    ef.load(GLOVE, vocabulary).save(path)
    return path


class Noting:
    """Cuts at white space, and notes where; the first worker is killed, if that is wanted."""

    def __init__(self, folder: Path, *, killed: bool) -> None:
        self.folder, self.killed, self.driver = str(folder), killed, os.getpid()

    def __call__(self, text: str) -> list[str]:
        if os.getpid() != self.driver:
            node = ray.get_runtime_context().get_node_id()
            with open(os.path.join(self.folder, node), "a", encoding="utf-8"):
                pass
            if self.killed and "battery" in text:
                self._die_once()
        return text.split()

    def _die_once(self) -> None:
        try:
            os.close(os.open(os.path.join(self.folder, "killed"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("weights", [None, "tfidf"])
@pytest.mark.parametrize("output", ["npy", "parquet"])
def test_a_cluster_gives_the_same_bytes(
    output: str, weights: Any, address: str, table: Path, tmp_path: Path
) -> None:
    corpus = [SENTENCES, as_gzip(tmp_path / "t.tsv.gz")]
    options = {**OPTIONS, "output": output, "weights": weights}
    ef.encode(table, corpus, tmp_path / "local", **options)
    ef.encode(table, corpus, tmp_path / "ray", engine="ray", address=address, **options)
    assert same_folders(tmp_path / "local", tmp_path / "ray")


@pytest.mark.parametrize("killed", [False, True])
def test_both_nodes_work_and_a_worker_that_is_killed_changes_nothing(
    killed: bool, address: str, table: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    splitter = Noting(tmp_path / "notes", killed=killed)
    ef.encode(table, SENTENCES, tmp_path / "local", splitter=splitter, processes=1, **OPTIONS)
    assert not os.listdir(tmp_path / "notes")
    ef.encode(
        table,
        SENTENCES,
        tmp_path / "ray",
        splitter=splitter,
        engine="ray",
        address=address,
        **OPTIONS,
    )
    notes = set(os.listdir(tmp_path / "notes"))
    assert ("killed" in notes) == killed
    assert len(notes - {"killed"}) == 2
    assert same_folders(tmp_path / "local", tmp_path / "ray")


def test_paths_from_the_folder_of_the_caller(
    address: str, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.tsv").write_bytes(SENTENCES.read_bytes())
    monkeypatch.chdir(tmp_path)
    nearby = os.path.relpath(table)
    options = {**OPTIONS, "weights": "tfidf"}
    ef.encode(nearby, "t.tsv", "local", **options)
    ef.encode(nearby, "t.tsv", "ray", engine="ray", address=address, **options)
    assert same_folders(tmp_path / "local", tmp_path / "ray")


def test_nodes_that_do_not_see_the_table_receive_it(
    address: str, table: Path, tmp_path: Path
) -> None:
    ef.encode(table, SENTENCES, tmp_path / "local", **OPTIONS)
    with table.open("rb") as file:
        mine = f"/proc/self/fd/{file.fileno()}"  # to another process it is another file, or none
        ef.encode(mine, SENTENCES, tmp_path / "ray", engine="ray", address=address, **OPTIONS)
    assert same_folders(tmp_path / "local", tmp_path / "ray")
    assert not list(Path(tempfile.gettempdir()).glob("embedfreeze-*.safetensors"))


def test_a_job_that_a_cluster_began_is_finished_here(
    address: str, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ef.encode(table, SENTENCES, tmp_path / "local", **OPTIONS)
    record, left = JobFolder.record, 3

    def stopping(self: JobFolder, shard: Any) -> None:
        nonlocal left
        record(self, shard)
        left -= 1
        if not left:
            raise KeyboardInterrupt

    monkeypatch.setattr(JobFolder, "record", stopping)
    with pytest.raises(KeyboardInterrupt):
        ef.encode(table, SENTENCES, tmp_path / "out", engine="ray", address=address, **OPTIONS)
    monkeypatch.undo()
    ef.encode(table, SENTENCES, tmp_path / "out", **OPTIONS)
    assert same_folders(tmp_path / "local", tmp_path / "out")


def test_errors_of_workers_come_as_they_are(address: str, table: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "t.jsonl"
    corpus.write_text('{"text": "good"}\n{"text": 5}\n')
    options: dict[str, Any] = {"engine": "ray", "address": address}
    with pytest.raises(FormatError, match=r"t\.jsonl: line 2: 'text' must be a text, received 5"):
        ef.encode(table, corpus, tmp_path / "out", **options)
    with pytest.warns(UserWarning, match="1 bad record was left out, the first: .* line 2"):
        manifest = ef.encode(table, corpus, tmp_path / "out", on_bad_record="skip", **options)
    assert (manifest.texts, manifest.shards[0]["skipped"]) == (1, 1)


def test_a_splitter_that_the_nodes_do_not_have(
    address: str, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def cut(text):\n    return text.split()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    splitter = import_module("only_here").cut
    with pytest.raises(EmbedFreezeError, match="a node cannot load .*'only_here'.*: install"):
        ef.encode(
            table,
            SENTENCES,
            tmp_path / "out",
            splitter=splitter,
            engine="ray",
            address=address,
            **OPTIONS,
        )


def command(table: Path, out: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    call = ["encode", table, SENTENCES, "-o", out, "--label", "label", "--id", "source"]
    call += ["--shard-size", 20_000, "--engine", "ray", *options]
    run = "from embedfreeze.cli import main; raise SystemExit(main())"
    return subprocess.run(
        [sys.executable, "-c", run, *map(str, call)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "RAY_ADDRESS": "local"},  # whatever else runs on this machine
    )


def test_without_a_cluster_one_is_started(table: Path, tmp_path: Path) -> None:
    ef.encode(table, SENTENCES, tmp_path / "local", **OPTIONS)
    done = command(table, tmp_path / "ray")
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout == (
        f"{tmp_path / 'ray'}: 3,000 texts in 11 shards: features float32[50], label int64, id str\n"
    )
    assert same_folders(tmp_path / "local", tmp_path / "ray")


def test_there_is_no_cluster_at_an_address(table: Path, tmp_path: Path) -> None:
    done = command(table, tmp_path / "out", "--address", "nowhere")
    assert done.returncode == 1
    told = "embedfreeze: error: Ray has no cluster at nowhere: .*: check address= \\(--address\\)\n"
    assert re.fullmatch(told, done.stderr)
