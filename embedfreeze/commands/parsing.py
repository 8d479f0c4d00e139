"""How the words of a call are read, and what is said of those that nobody knows: in one line."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from itertools import islice
from typing import Any, NoReturn

from embedfreeze.commands.terminal import tell

__all__ = ["CommandLineParser", "checked_choice", "describe", "did_you_mean", "options_of"]

WRONG_CALL = 2
NUMBER = re.compile(r"-\.?\d")


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """The word that was meant, perhaps, to put behind a message; nothing if none is near.

    Examples
    --------
    >>> did_you_mean("convrt", ["convert", "inspect"])
    ': did you mean convert?'
    >>> did_you_mean("zzz", ["convert", "inspect"])
    ''
    """
    from difflib import get_close_matches

    near = get_close_matches(word.lower(), list(words), n=1)
    return f": did you mean {near[0]}?" if near else ""


def checked_choice(text: str, choices: Iterable[str]) -> str:
    """A value that must be one of several words, for the ``type`` of an option."""
    words = list(choices)
    if text not in words:
        raise argparse.ArgumentTypeError(
            f"must be one of {', '.join(words)}, received {text!r}{did_you_mean(text, words)}"
        )
    return text


def describe(parser: argparse.ArgumentParser, sentence: str, *examples: str) -> None:
    """What the help of a command says above its options, and below them: calls to start from."""
    parser.description = sentence
    parser.epilog = "\n".join(["examples:", *(f"  embedfreeze {example}" for example in examples)])


def options_of(parser: argparse.ArgumentParser, title: str) -> argparse._ArgumentGroup:
    """The group of options with a title, which several modules may add to."""
    groups = {group.title: group for group in parser._action_groups}
    return groups[title] if title in groups else parser.add_argument_group(title)


class CommandLineParser(argparse.ArgumentParser):
    """A parser whose complaints are one line each, with the word that was meant, perhaps.

    Options are spelled out: what a shortened one stands for would change with the next option.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        plain = argparse.RawDescriptionHelpFormatter
        settings = {"formatter_class": plain, "allow_abbrev": False, **settings}
        super().__init__(*arguments, **settings)

    def format_help(self) -> str:
        """The help, whose first line leaves the options to the lists below it."""
        formatter = self._get_formatter()
        needed = [
            " ".join((*action.option_strings[:1], formatter._format_args(action, "WORD")))
            for action in sorted(self._actions, key=lambda action: not action.option_strings)
            if action.required
        ]
        self.usage = " ".join(["%(prog)s [options]", *needed])
        return super().format_help()

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is not sys.stdout:
            tell(message)
        elif file is not None:
            file.write(message)  # that nobody could read it is an error, here as elsewhere

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_CALL, f"embedfreeze: error: {message} (see {self.prog} --help)")

    def refuse_unknown_options(self, words: Iterable[str]) -> None:
        """The error of the first option that there is not; else it is that of a missing word."""
        known = list(self._option_string_actions)
        short = tuple(name for name in known if len(name) == 2)
        for word in words:
            name = word.partition("=")[0]
            if word == "--":
                return
            if word[:1] != "-" or word == "-" or " " in word or NUMBER.match(word):
                continue
            if name not in known and not (word[:2] != "--" and word.startswith(short)):
                self.error(f"there is no option {name}{did_you_mean(name, known)}")

    def options_first(self, words: Iterable[str]) -> list[str]:
        """The same words, options and their values before all others: they may stand anywhere."""
        options: list[str] = []
        others: list[str] = []
        rest = iter(words)
        for word in rest:
            if word == "--":
                return [*options, *others, word, *rest]
            action = self._option_string_actions.get(word)
            if action is not None and action.nargs is None:
                value = list(islice(rest, 1))
                if not value:
                    self.error(str(argparse.ArgumentError(action, "expected one argument")))
                options += [word, *value]
            elif action is not None or self._has_value(word):
                options.append(word)
            else:
                others.append(word)
        return options + others

    def _has_value(self, word: str) -> bool:
        """Is it an option with its value, as --name=value or -nVALUE?"""
        known = self._option_string_actions
        if word[:2] == "--":
            return word.partition("=")[0] in known
        return word[:2] in known and len(word) > 2

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        words = list(map(str, action.choices))
        near = did_you_mean(str(value), words)
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"there is no command {value!r}{near}")
        said = f"must be one of {', '.join(words)}, received {value!r}{near}"
        raise argparse.ArgumentError(action, said)
