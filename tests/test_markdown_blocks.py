"""The runner of Markdown pages: what a page says wrong fails."""

from pathlib import Path

import pytest
from markdown_blocks import read_blocks, run_python, run_shell


def write(path: Path, *lines: str) -> Path:
    page = path / "page.md"
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return page


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["```python", "print(1 + 1)", "```", "", "```text", "3", "```"], "page.md:6: the page"),
        (["# x", "```python raises=ValueError", "int('1')", "```"], "page.md:3: .* did not"),
        (["```python raises=OSError", "open('/no')", "```", "```text", "b", "```"], "is\nFileNot"),
    ],
)
def test_a_page_that_is_wrong_fails(tmp_path: Path, lines: list[str], reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        run_python(write(tmp_path, *lines))


def test_an_error_that_no_block_announces_fails(tmp_path: Path) -> None:
    page = write(tmp_path, "", "```python", "x = 1", "1 / 0", "```")
    with pytest.raises(ZeroDivisionError) as caught:
        run_python(page)
    assert (caught.traceback[-1].path, caught.traceback[-1].lineno + 1) == (page, 4)
    with pytest.raises(KeyError):
        run_python(write(tmp_path, "```python raises=ValueError", "{}[0]", "```"))


def test_blocks_share_a_namespace_and_dots_stand_for_anything(tmp_path: Path) -> None:
    page = write(
        tmp_path,
        *("```python", "x = 2", "```", "words", "```python", "print(x * 3, 'and (more)')", "```"),
        *("", "```text", "6 ... (more)", "```", "```python raises=KeyError", "{}[x]", "```"),
    )
    assert run_python(page)["x"] == 2


def test_shell_blocks(tmp_path: Path) -> None:
    page = write(
        tmp_path,
        *("```bash", "echo one > file", "cat file", "```"),
        *("```console", "$ cat file", "one", "$ false", "$ echo unseen", "```"),
    )
    bash, console = read_blocks(page, "bash", "console")
    assert (run_shell(bash, tmp_path).stdout, bash.line) == ("one\n", 2)
    ended = run_shell(console, tmp_path)
    assert (ended.stdout, ended.returncode) == ("one\n", 1)


def test_a_page_with_a_folder_runs_its_console_blocks_in_order(tmp_path: Path) -> None:
    page = write(
        tmp_path,
        *("```python", "n = (out / 'f').write_text('two')", "```", "```console"),
        *('$ cat "$OUT/f"; echo three >&2', "```", "```text", "two...ee", "```"),
        *("```console status=3", "$ mv $OUT/f $OUT/g", "$ exit 3", "```"),
        *("```python", "print((out / 'g').read_text())", "```", "```text", "two", "```"),
    )
    run_python(page, out=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g", "page.md"]
    page = write(tmp_path, "```console", "$ false", "```")
    with pytest.raises(AssertionError, match="page.md:2: .* status 0, and ended with 1"):
        run_python(page, out=tmp_path)
    run_python(page)
