"""Run the code blocks of a Markdown page, so that a page is a test.

- ```` ```python ```` blocks run in order in one namespace.
- ```` ```python raises=ValueError ```` must raise that error (or one of a subclass).
- A ```` ```text ```` block right after either is what it prints, and the error's type and message.
  White space counts as one blank, and ``...`` stands for anything.
- ```` ```bash ```` blocks run as they are; of ```` ```console ```` blocks the lines after ``$`` do.
- ```` ```console status=4 ```` must end with that exit status.

``python tests/markdown_blocks.py PAGE`` runs the Python blocks of a page in this process, and
``python tests/markdown_blocks.py PAGE OUT`` its console blocks, too, all in the page's order. Then
``out`` in Python and ``$OUT`` on the command line are that folder, and a ```` ```text ```` block
right after a console block is what it prints, errors included. A block of any language with
``file=PATH`` is not run: it is the content of that file in the folder.
"""

import contextlib
import io
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FENCE = re.compile(r"^```(\S*)[ ]?(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what else its first line says, its code, its first line."""

    language: str
    options: str
    code: str
    line: int

    @property
    def raises(self) -> str | None:
        """Name of the error that the block must raise."""
        found = re.search(r"raises=(\w+)", self.options)
        return found[1] if found else None

    @property
    def file(self) -> str | None:
        """The file that the block is the content of."""
        found = re.search(r"file=(\S+)", self.options)
        return found[1] if found else None

    @property
    def status(self) -> int:
        """The exit status that the block must end with."""
        found = re.search(r"status=(\d+)", self.options)
        return int(found[1]) if found else 0


def read_blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a page in order; those of the given languages, if any are given."""
    text = page.read_text(encoding="utf-8")
    blocks = [
        Block(found[1], found[2], found[3], text.count("\n", 0, found.start(3)) + 1)
        for found in FENCE.finditer(text)
    ]
    return [block for block in blocks if not languages or block.language in languages]


def with_includes(page: Path, folder: Path) -> Path:
    """The page as the site shows it: itself, or with the sections that it includes, in a folder."""
    import docs_site

    root = Path(docs_site.ROOT)
    text = page.read_text(encoding="utf-8")
    shown = docs_site.included(text, page.relative_to(root).as_posix())
    if shown == text:
        return page
    folder.mkdir(parents=True, exist_ok=True)
    (folder / page.name).write_text(shown, encoding="utf-8")
    return folder / page.name


def run_python(
    page: Path, namespace: dict[str, Any] | None = None, out: Path | None = None
) -> dict[str, Any]:
    """Run the Python blocks of a page in order and return their namespace.

    With a folder `out` for what they write, the console blocks run, too, and files are written.

    Raises
    ------
    AssertionError
        A block printed or raised something else than the page says; its line is named.
    """
    namespace = {"__name__": "__main__"} if namespace is None else namespace
    if out is not None:
        namespace["out"] = out
    blocks = read_blocks(page)
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block.file is not None:
            if out is not None:
                (out / block.file).parent.mkdir(parents=True, exist_ok=True)
                (out / block.file).write_text(block.code, encoding="utf-8")
            continue
        if block.language == "python":
            said = _run_block(block, page, namespace)
        elif block.language == "console" and out is not None:
            said = _run_console(block, page, out)
        else:
            continue
        if following is not None and following.language == "text":
            _expect(following, said, page)
    return namespace


def _run_console(block: Block, page: Path, out: Path) -> str:
    """What the block printed."""
    done = run_shell(block, Path.cwd(), _shell_environment(out))
    said = done.stdout + done.stderr
    if done.returncode != block.status:
        raise AssertionError(
            f"{page}:{block.line}: the block must end with status {block.status}, and ended with "
            f"{done.returncode}:\n{said}"
        )
    return said


def _run_block(block: Block, page: Path, namespace: dict[str, Any]) -> str:
    """What the block printed, and the error if it had to raise one."""
    code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if block.raises is None:
            exec(code, namespace)
            return printed.getvalue()
        try:
            exec(code, namespace)
        except BaseException as error:
            names = [kind.__name__ for kind in type(error).__mro__]
            if block.raises not in names:
                raise
            return f"{printed.getvalue()}{type(error).__name__}: {error}"
    raise AssertionError(f"{page}:{block.line}: the block must raise {block.raises}, and did not")


def _expect(block: Block, said: str, page: Path) -> None:
    words = [re.escape(part) for part in " ".join(block.code.split()).split("...")]
    if not re.fullmatch(".*".join(words), " ".join(said.split())):
        raise AssertionError(f"{page}:{block.line}: the page says\n{block.code}\nit is\n{said}")


def run_python_in_child(
    page: Path, cwd: Path, out: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """`run_python` in a fresh process with `cwd` as its folder."""
    command = [sys.executable, str(Path(__file__).resolve()), str(page.resolve())]
    command += [] if out is None else [str(out)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)


def shell_script(block: Block) -> str:
    """The commands of a bash or console block."""
    if block.language == "bash":
        return block.code
    lines = [line[1:].strip() for line in block.code.splitlines() if line.startswith("$")]
    return "\n".join(lines)


def run_shell(
    block: Block, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a bash or console block in a folder; the first command that fails ends it."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", shell_script(block)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=600,
    )


def run_consoles(page: Path, cwd: Path, out: Path) -> list[subprocess.CompletedProcess[str]]:
    """Run the console blocks of a page; ``$OUT`` is a folder for what they write."""
    env = _shell_environment(out)
    return [run_shell(block, cwd, env) for block in read_blocks(page, "console")]


def _shell_environment(out: Path) -> dict[str, str]:
    return {"OUT": str(out), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


if __name__ == "__main__":
    run_python(Path(sys.argv[1]), None, *map(Path, sys.argv[2:]))
