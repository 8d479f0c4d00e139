"""Text models over a frozen embedding: lookup, pooling, dense layers, checked training, loading."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

from embedfreeze.backend import keras
from embedfreeze.checks import Check, CheckedFunction, StepCounter, checked_mode
from embedfreeze.errors import FileError, FrozenError
from embedfreeze.frozen import frozen_variables
from embedfreeze.head import Compiling, dense_layers
from embedfreeze.modelinputs import as_inputs, as_validation_data
from embedfreeze.pooling import Pooling
from embedfreeze.refusals import own_errors
from embedfreeze.savedfiles import loadable
from embedfreeze.search import Search, searching
from embedfreeze.stored import record_tables, saving_to
from embedfreeze.textvectors import text_vectors
from embedfreeze.thawing import thaw

__all__ = ["FrozenModel", "build_model", "load_model"]


@keras.saving.register_keras_serializable(package="embedfreeze")
class FrozenModel(keras.Model):  # type: ignore[misc]
    """A functional Keras model whose frozen tables are checked after every training execution.

    `fit`, `evaluate`, `predict` and their `_on_batch` kin check after each call of the function
    that Keras runs for a step (or for several, under `steps_per_execution`), outside the graph.
    Steps are numbered from 1 as the optimizer counts batches: over all fits, and on after loading.
    A model that holds this one as a layer has a `fit` of its own: give that a `FreezeGuard`.

    Parameters
    ----------
    *args, **kwargs
        As for a functional `keras.Model`: inputs, outputs, name.
    check : {"address", "deep", "off"}
        ``"address"`` takes microseconds whatever the size of the table, but for a copy on another
        device, which is read as a whole; ``"deep"`` hashes the table after every execution. It may
        be set at any time, and is saved with the model.
        `keras.models.clone_model` does not carry it over: a clone has ``"address"``.

    Raises
    ------
    FrozenBytesChanged
        From `fit` and `train_on_batch`: a frozen byte changed. The error has layer, step, and row
        and token or block.
    TypeError
        From `fit` and its kin: a model of ids was given texts.
    """

    train_function: Any
    test_function: Any
    predict_function: Any

    # Keras looks at the signature, names included, to tell that it may rebuild such a model.
    def __init__(self, *args: Any, check: Check = "address", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.check = check
        self._steps = StepCounter(self)

    @property
    def check(self) -> Check:
        """How the tables are checked."""
        return self._check

    @check.setter
    def check(self, check: Check) -> None:
        self._check: Check = checked_mode(check)

    @property
    def steps_checked(self) -> int:
        """After how many training steps, in this process, the tables were checked."""
        return self._steps.checked

    @steps_checked.setter
    def steps_checked(self, steps: int) -> None:
        self._steps.checked = steps

    # ---- texts, which Keras takes as tensors alone

    def __call__(self, inputs: Any, *args: Any, **options: Any) -> Any:
        return super().__call__(as_inputs(self, inputs), *args, **options)

    def fit(self, x: Any = None, *args: Any, validation_data: Any = None, **options: Any) -> Any:
        """As `keras.Model.fit`; texts may be a list or a NumPy array of `str`."""
        if validation_data is not None:
            options["validation_data"] = as_validation_data(self, validation_data)
        return super().fit(as_inputs(self, x), *args, **options)

    def evaluate(self, x: Any = None, *args: Any, **options: Any) -> Any:
        """As `keras.Model.evaluate`; texts as for `fit`."""
        return super().evaluate(as_inputs(self, x), *args, **options)

    def predict(self, x: Any, *args: Any, **options: Any) -> Any:
        """As `keras.Model.predict`; texts as for `fit`."""
        return super().predict(as_inputs(self, x), *args, **options)

    def train_on_batch(self, x: Any, *args: Any, **options: Any) -> Any:
        """As `keras.Model.train_on_batch`; texts as for `fit`."""
        return super().train_on_batch(as_inputs(self, x), *args, **options)

    def test_on_batch(self, x: Any, *args: Any, **options: Any) -> Any:
        """As `keras.Model.test_on_batch`; texts as for `fit`."""
        return super().test_on_batch(as_inputs(self, x), *args, **options)

    def predict_on_batch(self, x: Any) -> Any:
        """As `keras.Model.predict_on_batch`; texts as for `fit`."""
        return super().predict_on_batch(as_inputs(self, x))

    # ---- checks

    def make_train_function(self, force: bool = False) -> Any:
        super().make_train_function(force)
        if not isinstance(self.train_function, CheckedFunction):
            self.train_function = CheckedFunction(self.train_function, self, self._steps)
        return self.train_function

    def make_test_function(self, force: bool = False) -> Any:
        super().make_test_function(force)
        if not isinstance(self.test_function, CheckedFunction):
            self.test_function = CheckedFunction(self.test_function, self)
        return self.test_function

    def make_predict_function(self, force: bool = False) -> Any:
        super().make_predict_function(force)
        if not isinstance(self.predict_function, CheckedFunction):
            self.predict_function = CheckedFunction(self.predict_function, self)
        return self.predict_function

    def thaw(self) -> keras.Model:
        """An ordinary model with trainable embeddings of the same values: `embedfreeze.thaw`."""
        return thaw(self)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "check": self.check}

    # ---- saving: Keras' callbacks call these, too

    def save(
        self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **options: Any
    ) -> None:
        """As `keras.Model.save`; what refers to a store is relative to the folder of the file.

        Raises
        ------
        FrozenError
            The name is that of an older format, from which Keras cannot load this class.
        """
        if str(filepath).endswith((".h5", ".hdf5")):
            raise FrozenError(
                f"{filepath}: a model of build_model must be saved as a .keras file, received the "
                "name of an older format, from which Keras cannot load it: give another name, or "
                "save its weights with save_weights('NAME.weights.h5')"
            )
        with saving_to(filepath, as_folder=zipped is False) as path:
            super().save(path, overwrite=overwrite, zipped=zipped, **options)

    def save_weights(self, filepath: Any, *args: Any, **options: Any) -> None:
        """As `keras.Model.save_weights`; of tables it holds what tells them."""
        with saving_to(filepath):
            super().save_weights(filepath, *args, **options)

    def load_weights(self, filepath: Any, *args: Any, **options: Any) -> None:
        """As `keras.Model.load_weights`; tables are compared, not loaded.

        Raises
        ------
        FrozenError
            A table or its tokens are others than the weights were saved with. Under
            `skip_mismatch` Keras warns of it and goes on.
        """
        with own_errors():
            super().load_weights(filepath, *args, **options)

    def export(
        self, filepath: Any, format: str = "tf_saved_model", *args: Any, **options: Any
    ) -> None:
        """As `keras.Model.export`.

        A SavedModel holds each table once, by value, and serves without this library. What tells
        the tables goes into its ``assets.extra/embedfreeze.json``, for `embedfreeze.verify`.
        """
        super().export(filepath, format, *args, **options)
        if format == "tf_saved_model":
            record_tables(self, filepath)


def build_model(
    source: Any,
    *,
    pooling: Pooling | None = "mean",
    pooled_lookup: bool = False,
    hidden_units: Sequence[int] = (64,),
    output_units: int = 1,
    activation: Any = "relu",
    output_activation: Any = None,
    dropout: float = 0.0,
    max_length: int | None = None,
    inputs: Literal["ids", "text"] = "ids",
    trainable_oov: bool | Sequence[int] = False,
    device: str = "cpu",
    save: Literal["reference", "embed"] | None = None,
    check_ids: bool = False,
    optimizer: Any = None,
    loss: Any = None,
    metrics: Any = None,
    check: Check = "address",
    name: str | None = None,
) -> FrozenModel:
    """A model that looks texts up in a frozen table, pools them and puts dense layers on top.

    Parameters
    ----------
    source : AlignedEmbeddings or Embeddings
        The table. Where it has a vocabulary with a padding token, padding is left out of pooling,
        and a text of padding alone pools to zeros.
    pooling : {"mean", "max", "sum", "sqrtn", "attention", "flatten"} or None
        How the vectors of a text become one: ``"sqrtn"`` is the sum over the square root of the
        number of tokens, ``"attention"`` a weighted mean whose weights are learned, ``"flatten"``
        puts the vectors of `max_length` tokens beside each other. None keeps one vector, and gives
        one output, a token.
    pooled_lookup : bool
        Pool by "mean", "sum" or "sqrtn" while the table is read, which takes less than half the
        time and adds in another order; see `pooling` of `FrozenEmbedding`.
    hidden_units : sequence of int
        Sizes of the dense layers before the output.
    output_units : int
        Size of the output.
    activation, output_activation : str or callable
        Of the dense layers, and of the output; by default the output is logits.
    dropout : float
        Rate, before each dense layer.
    max_length : int, optional
        Tokens a text. With text inputs longer texts are cut and shorter ones padded; ids must come
        in this length. Default: any length, the same within a batch.
    inputs : {"ids", "text"}
        ``"ids"``: int32 [batch, length]. ``"text"``: strings [batch], which the model splits and
        looks up as ``vocabulary.encode`` does; the vocabulary is saved with the model. The model
        takes a list or a NumPy array of `str`, ``tf.constant(texts)`` or a `tf.data.Dataset`. XLA
        has no strings, so Keras runs such a model without `jit_compile`.
    trainable_oov : bool or sequence of int
        Train the rows of special and unfound tokens; see `FrozenEmbedding`.
    device, save, check_ids
        Where the table is, what a saved model holds of it, and whether ids without a row are
        refused, as for `FrozenEmbedding`.
    optimizer, loss, metrics
        As for `keras.Model.compile`. The model is compiled if an optimizer and a loss are given.
    check : {"address", "deep", "off"}
        How the table is checked after every training execution; see `FrozenModel`.
    name : str, optional
        Of the model.

    Returns
    -------
    FrozenModel
        A functional Keras model: [batch, output_units], or [batch, length, output_units] without
        pooling.

    Raises
    ------
    VocabularyError
        Text inputs, and the source has no vocabulary, or one without padding or unknown token, or
        a splitter that TensorFlow cannot repeat.
    FrozenError
        `trainable_oov=True`, and the source does not know its coverage.
    ValueError
        An argument is not one of those above.
    TypeError
        `hidden_units` is no sequence.

    Warns
    -----
    UserWarning
        Text inputs, and the splitter can never produce some tokens of the vocabulary.
    """
    compiling = Compiling(optimizer, loss, metrics)
    entry, x = text_vectors(
        source,
        pooling=pooling,
        pooled_lookup=pooled_lookup,
        max_length=max_length,
        inputs=inputs,
        trainable_oov=trainable_oov,
        device=device,
        save=save,
        check_ids=check_ids,
    )
    outputs = dense_layers(
        x,
        hidden_units=hidden_units,
        output_units=output_units,
        activation=activation,
        output_activation=output_activation,
        dropout=dropout,
    )
    model = FrozenModel(entry, outputs, name=name, check=check)
    compiling.apply(model)
    return model


def load_model(
    path: str | os.PathLike[str],
    table: object = None,
    *,
    search: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    **options: Any,
) -> keras.Model:
    """Load a `.keras` file, with the tables it refers to or holds.

    A table that lies in a store is told by its digest and by that of its tokens, and looked for in
    this order: `table`; the tables of this process; the recorded path, relative to the folder of
    the model; the file of that name beside the model; in the folders of `search`; in those of the
    environment variable ``EMBEDFREEZE_PATH`` (with colons between them); where it was when the
    model was saved; at last, any ``.safetensors`` file in the folders of `search` and the variable
    whose header has the digest. What lies in a place and is another table is passed over.

    `keras.saving.load_model` loads the file as well, once `embedfreeze.model` is imported. It looks
    in the same places, with the working directory for the folder of the model.

    Parameters
    ----------
    path : path
        The model.
    table : path, Embeddings or AlignedEmbeddings, or a list of them, optional
        The tables of all `FrozenEmbedding` layers in the model, in any order.
    search : path or sequence of paths
        Folders where stores may lie.
    **options
        Of `keras.saving.load_model`.

    Returns
    -------
    keras.Model
        With its frozen tables in place.

    Raises
    ------
    FileError
        There is no such file; or it is no saved model, or cut off.
    FrozenError
        No table given has the digest that the model was saved with, or none is found, be it in a
        store (`TableNotFound`, which is a `FileError`, too) or in the model's own file.
    FrozenBytesChanged
        The table in the model's own file is damaged.
    """
    name = os.fspath(path)
    if "://" not in name and not os.path.exists(name):
        raise FileError("cannot be read: no such file; give the file of a saved model", path=name)
    with searching(Search.of(path, table, search)), own_errors(), loadable(name):
        model: Any = keras.saving.load_model(path, **options)
    for _, variable in frozen_variables(model):
        variable.check()  # its table may be missing in the file
    return model
