"""How changes are refused: what to do instead, and how the error gets through Keras as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn, Self, TypeVar

from embedfreeze.errors import EmbedFreezeError, FrozenError

__all__ = ["THAW", "NeverTrainable", "own_errors", "unwrapped", "unwrapping"]

THAW = (
    "give optimizers model.trainable_variables; to train these values, thaw them on purpose: "
    "layer.thaw() makes an ordinary keras.layers.Embedding, embedfreeze.thaw(model) a model with it"
)
E = TypeVar("E", bound=EmbedFreezeError)
_raised: ContextVar[list[EmbedFreezeError] | None] = ContextVar("raised", default=None)


def unwrapped(error: E) -> E:
    """Tell autograph and Keras not to replace an error by one of theirs without its fields."""
    vars(error).update(ag_pass_through=True, _keras_call_info_injected=True)
    raised = _raised.get()  # no walrus: TensorFlow's autograph, which reads this, warns of one
    if raised is not None:
        raised.append(error)
    return error


@contextmanager
def unwrapping() -> Iterator[None]:
    """Errors that are raised in the block are `unwrapped`."""
    try:
        yield
    except EmbedFreezeError as error:
        raise unwrapped(error) from error.__cause__


@contextmanager
def own_errors() -> Iterator[None]:
    """While Keras loads: it gathers the errors of layers, and raises a `ValueError` that repeats
    the message of the first. Ours, with its class and fields, is raised in its place."""
    raised: list[EmbedFreezeError] = []
    token = _raised.set(raised)
    try:
        yield
    except ValueError as error:
        repeated = [own for own in raised if str(own) in str(error) and own is not error]
        if repeated and not isinstance(error, EmbedFreezeError):
            raise repeated[0] from error
        raise
    finally:
        _raised.reset(token)


class NeverTrainable:
    """A variable whose values no one may change, and which says so.

    Attributes
    ----------
    path : str
        Name of the variable, after the names of the layers that hold it and a slash each.
    """

    path: str

    @property
    def trainable(self) -> bool:
        """Always False; setting it to True raises `FrozenError`."""
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if value:
            self._refuse("trainable=True is refused")

    def __reduce__(self) -> NoReturn:
        self._refuse("pickling is refused: save the model that holds it")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def _refuse(self, rule: str) -> NoReturn:
        raise unwrapped(FrozenError(f"frozen variable {self.path!r}: {rule}; {THAW}"))

    def _refuse_second(self, holder: str) -> None:
        """What is made anew in place would be another variable under the name of this one.

        `holder` is the attribute that is set when the variable is made.
        """
        if holder in vars(self):
            self._refuse("it is made once, received a second call of __init__")
