"""Checked training: a table that changes in the middle of an epoch stops it, and names the step."""

import ctypes
import mmap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from embedfreeze.align import AlignedEmbeddings
from embedfreeze.errors import FrozenBytesChanged, FrozenError
from embedfreeze.frozen import FrozenEmbedding, FrozenVariable, frozen_variables
from embedfreeze.model import FrozenModel, build_model
from embedfreeze.pooling import MaskedPooling
from embedfreeze.sealed import seal_array
from embedfreeze.training import FreezeGuard, train_step, verify
from embedfreeze.vocabulary import Vocabulary

VOCABULARY = Vocabulary([f"word{i}" for i in range(600)])
VALUES = np.random.default_rng(0).normal(size=(len(VOCABULARY), 16)).astype("float32")
BATCH, STEPS = 4, 10  # steps an epoch
IDS = np.random.default_rng(1).integers(0, len(VOCABULARY), (BATCH * STEPS, 5)).astype("int32")
LABELS = (np.arange(len(IDS)) % 2).astype("float32")[:, None]
ROW = 321


def source() -> AlignedEmbeddings:
    return AlignedEmbeddings(seal_array(VALUES), VOCABULARY)


def built(jit: bool = False, steps_per_execution: int = 1, **options: Any) -> FrozenModel:
    keras.utils.set_random_seed(2)
    model = build_model(source(), hidden_units=[3], **options)
    model.compile("sgd", "mse", jit_compile=jit, steps_per_execution=steps_per_execution)
    return model


def stock(jit: bool = False, steps_per_execution: int = 1) -> keras.Model:
    """A model that this library knows nothing of, but for the table in it."""
    keras.utils.set_random_seed(2)
    layers = [FrozenEmbedding(source(), name="words"), MaskedPooling(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((None,), dtype="int32"), *layers])
    model.compile("sgd", "mse", jit_compile=jit, steps_per_execution=steps_per_execution)
    return model


def corrupt(model: keras.Model) -> None:
    """What no variable can refuse: a raw op on its handle."""
    (_, variable), *_ = frozen_variables(model)
    changed = VALUES.copy()
    changed[ROW, 3] += 1
    tf.raw_ops.AssignVariableOp(resource=variable.tf_variable.handle, value=changed)


def overwrite_mapping(model: keras.Model) -> None:
    """Other memory at the same address: seals and address stay, the bytes do not."""
    (_, variable), *_ = frozen_variables(model)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p,
        *[ctypes.c_size_t] * 1,
        *[ctypes.c_int] * 3,
        ctypes.c_long,
    ]
    page = mmap.PAGESIZE
    address = variable.sealed.address + page  # the second page
    before = ctypes.string_at(address, page)
    fixed, flags = 0x10, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    placed = libc.mmap(address, page, mmap.PROT_READ | mmap.PROT_WRITE, flags | fixed, -1, 0)
    assert placed == address
    ctypes.memmove(address, before, page)
    ctypes.memset(address + 8, 1, 4)


def before_step(step: int, act: Callable[[], object]) -> keras.callbacks.Callback:
    """Act right before the execution that begins with a step, counted from 1 over all epochs."""
    epochs: list[int] = [0]

    def on_epoch_begin(epoch: int, logs: object = None) -> None:
        epochs[0] = epoch

    def on_train_batch_begin(batch: int, logs: object = None) -> None:
        if epochs[0] * STEPS + batch + 1 == step:
            act()

    return keras.callbacks.LambdaCallback(
        on_epoch_begin=on_epoch_begin, on_train_batch_begin=on_train_batch_begin
    )


def fit(model: keras.Model, *callbacks: keras.callbacks.Callback, epochs: int = 2) -> None:
    model.fit(IDS, LABELS, BATCH, epochs, verbose=0, callbacks=list(callbacks))


def expect(
    caught: pytest.ExceptionInfo[FrozenBytesChanged], layer: str, step: Any, message: str
) -> None:
    error = caught.value
    assert (error.layer, error.step) == (layer, step)
    assert (error.row, error.token) == (ROW, VOCABULARY.tokens[ROW])
    for part in (repr(layer), message, str(ROW), repr(VOCABULARY.tokens[ROW])):
        assert part in str(error)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("step", [1, 7, 14])
def test_fit_names_the_step(step: int, jit: bool) -> None:
    model = built(jit)
    with pytest.raises(FrozenBytesChanged) as caught:
        fit(model, before_step(step, lambda: corrupt(model)))
    expect(caught, "embedding", step, f"after step {step}")
    assert int(model.optimizer.iterations.numpy()) == step


@pytest.mark.parametrize("step", [1, 4])
def test_a_write_inside_the_graph_is_found(step: int) -> None:
    """A loss that writes the table: in the first step it has, before later ones it would."""
    model = built()
    (_, variable), *_ = frozen_variables(model)

    def loss(y: Any, predicted: Any) -> Any:
        def write() -> Any:
            handle = variable.tf_variable.handle
            tf.raw_ops.AssignVariableOp(resource=handle, value=tf.constant(VALUES + 1))
            return 0

        tf.cond(model.optimizer.iterations.value == step - 1, write, lambda: 0)
        return tf.reduce_mean((y - predicted) ** 2)

    model.compile("sgd", loss)
    if step > 1:
        with pytest.raises(FrozenError, match="found before it changed anything"):
            fit(model)
        return
    with pytest.raises(FrozenBytesChanged) as caught:
        fit(model)
    assert (caught.value.step, caught.value.row) == (1, 0)


def steps_by_hand(model: keras.Model, spoiled: int, step: Callable[..., object]) -> None:
    """Twelve steps, with a table that changes before one of them."""
    for number in range(1, 13):
        if number == spoiled:
            corrupt(model)
        step(IDS[:BATCH], LABELS[:BATCH])


@pytest.mark.parametrize("jit", [False, True])
def test_train_on_batch_names_the_step(jit: bool) -> None:
    model = built(jit)
    fit(model, epochs=1)  # steps go on over fits
    with pytest.raises(FrozenBytesChanged) as caught:
        steps_by_hand(model, 5, model.train_on_batch)
    expect(caught, "embedding", STEPS + 5, f"after step {STEPS + 5}")


@pytest.mark.parametrize("make", [built, stock])
def test_train_step_names_the_step(make: Callable[[], keras.Model]) -> None:
    model = make()
    step = partial(train_step, model, loss="mse", optimizer=keras.optimizers.Adam())
    with pytest.raises(FrozenBytesChanged) as caught:
        steps_by_hand(model, 6, step)
    expect(caught, frozen_variables(model)[0][0].name, 6, "after step 6")


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("step", [1, 7, 14])
def test_freeze_guard_names_the_step(step: int, jit: bool) -> None:
    model = stock(jit)
    with pytest.raises(FrozenBytesChanged) as caught:
        fit(model, FreezeGuard(), before_step(step, lambda: corrupt(model)))
    expect(caught, "words", step, f"after step {step}")


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize(
    ("begins", "steps"), [(1, (1, 4)), (5, (5, 8)), (9, (9, 10)), (11, (11, 14)), (19, (19, 20))]
)
def test_several_steps_an_execution(begins: int, steps: tuple[int, int], guarded: bool) -> None:
    """Executions of an epoch of 10 steps are 1 to 4, 5 to 8, 9 and 10."""
    model = (stock if guarded else built)(steps_per_execution=4)
    guards = [FreezeGuard()] if guarded else []
    with pytest.raises(FrozenBytesChanged) as caught:
        fit(model, *guards, before_step(begins, lambda: corrupt(model)))
    layer = "words" if guarded else "embedding"
    expect(caught, layer, steps, f"steps {steps[0]} to {steps[1]}")


@pytest.mark.parametrize("guarded", [False, True])
def test_a_lone_step_is_no_range(guarded: bool) -> None:
    """Executions of an epoch of 10 steps are 1 to 3, 4 to 6, 7 to 9, and 10 alone."""
    model = (stock if guarded else built)(steps_per_execution=3)
    guards = [FreezeGuard()] if guarded else []
    with pytest.raises(FrozenBytesChanged) as caught:
        fit(model, *guards, before_step(20, lambda: corrupt(model)))
    expect(caught, "words" if guarded else "embedding", 20, "after step 20")


def test_freeze_guard_counts_over_fits_and_datasets() -> None:
    model, guard = stock(), FreezeGuard()
    fit(model, guard, epochs=1)
    dataset = tf.data.Dataset.from_tensor_slices((IDS, LABELS)).batch(BATCH)
    unknown = dataset.filter(lambda x, y: True)  # a length that nobody knows
    model.fit(unknown, verbose=0, callbacks=[guard])
    with pytest.raises(FrozenBytesChanged) as caught:
        fit(model, guard, before_step(3, lambda: corrupt(model)), epochs=1)
    expect(caught, "words", 2 * STEPS + 3, f"after step {2 * STEPS + 3}")


def test_freeze_guard_finds_what_happened_between_fits() -> None:
    model, guard = stock(), FreezeGuard()
    fit(model, guard, epochs=1)
    corrupt(model)
    with pytest.raises(FrozenBytesChanged) as caught:
        fit(model, guard, epochs=1)
    assert (caught.value.step, caught.value.layer, caught.value.row) == (None, "words", ROW)


def test_freeze_guard_finds_what_validation_did() -> None:
    model = stock()
    spoil = keras.callbacks.LambdaCallback(on_test_end=lambda logs: corrupt(model))
    with pytest.raises(FrozenBytesChanged) as caught:
        model.fit(
            *(IDS, LABELS, BATCH),
            verbose=0,
            validation_data=(IDS[:4], LABELS[:4]),
            callbacks=[FreezeGuard(), spoil],
        )
    assert caught.value.step == STEPS


class Tied(keras.Model):  # type: ignore[misc]
    """A subclassed model that holds a frozen variable itself, and trains by its own step."""

    def __init__(self) -> None:
        super().__init__()
        self.words = FrozenVariable(source(), name="words")
        self.head = keras.layers.Dense(1)
        self.own = keras.optimizers.SGD()

    def call(self, ids: Any) -> Any:
        return self.head(tf.reduce_mean(tf.gather(self.words, ids), axis=1))

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x) - y) ** 2)
        weights = self.trainable_variables
        self.own.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


def test_freeze_guard_on_a_subclassed_model_with_its_own_step() -> None:
    model = Tied()
    model.compile()
    with pytest.raises(FrozenBytesChanged) as caught:
        fit(model, FreezeGuard(), before_step(13, lambda: corrupt(model)))
    expect(caught, model.name, 13, "after step 13")


@pytest.mark.parametrize("check", ["address", "deep"])
def test_memory_mapped_over_the_table(check: str) -> None:
    """The address check cannot see this: it is what `deep` is for."""
    model = built(check=check)
    act = before_step(7, lambda: overwrite_mapping(model))
    if check == "address":
        fit(model, act, epochs=1)
        return
    with pytest.raises(FrozenBytesChanged) as caught:
        fit(model, act, epochs=1)
    row = (mmap.PAGESIZE + 8) // VALUES[0].nbytes
    assert (caught.value.step, caught.value.row) == (7, row)
    guarded = stock()
    with pytest.raises(FrozenBytesChanged) as caught:
        fit(guarded, FreezeGuard("deep"), before_step(2, lambda: overwrite_mapping(guarded)))
    assert (caught.value.step, caught.value.row) == (2, row)
    by_hand = stock()
    overwrite_mapping(by_hand)
    verify(by_hand)
    with pytest.raises(FrozenBytesChanged) as caught:
        train_step(by_hand, IDS[:4], LABELS[:4], check="deep")
    assert caught.value.step == 1


def test_off_looks_away_and_may_be_switched() -> None:
    model = built(check="off")
    fit(model, before_step(3, lambda: corrupt(model)))
    train_step(model, IDS[:4], LABELS[:4], check="off")
    fit(model, FreezeGuard("off"), epochs=1)
    model.check = "address"
    with pytest.raises(FrozenBytesChanged) as caught:
        fit(model)
    assert caught.value.step == 3 * STEPS + 2
    with pytest.raises(ValueError, match="check must be one of"):
        model.check = "sometimes"  # type: ignore[assignment]
    with pytest.raises(ValueError, match="check must be one of"):
        FreezeGuard("sometimes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="check must be one of"):
        train_step(model, IDS, LABELS, check="sometimes")  # type: ignore[arg-type]


@pytest.mark.parametrize("check", ["address", "deep"])
@pytest.mark.parametrize("jit", [False, True])
def test_honest_training_passes(check: str, jit: bool) -> None:
    model = built(jit, check=check)
    before = [weight.numpy().tobytes() for weight in model.trainable_weights]
    fit(model, FreezeGuard(check))
    model.fit(IDS, LABELS, BATCH, steps_per_epoch=3, verbose=0)
    model.train_on_batch(IDS[:4], LABELS[:4])
    train_step(model, IDS[:4], LABELS[:4], check=check)
    verify(model, deep=True)
    assert frozen_variables(model)[0][1].numpy().tobytes() == VALUES.tobytes()
    assert [weight.numpy().tobytes() for weight in model.trainable_weights] != before


def test_a_loaded_model_counts_on(tmp_path: Path) -> None:
    model = built()
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    with pytest.raises(FrozenBytesChanged) as caught:
        fit(loaded, before_step(4, lambda: corrupt(loaded)))
    expect(caught, "embedding", 2 * STEPS + 4, f"after step {2 * STEPS + 4}")


def test_verify() -> None:
    model = stock()
    verify(model)
    verify(model, deep=True)
    verify(model.layers[0])
    corrupt(model)
    with pytest.raises(FrozenBytesChanged) as caught:
        verify(model)
    expect(caught, "words", None, "row")


def test_a_loop_of_ones_own_is_not_counted_and_cannot_train_the_table() -> None:
    """What docs/freezing.md says of `model.variables` and of `layer.trainable`."""
    model = built()
    layer = model.get_layer("embedding")
    layer.trainable = True
    assert not layer.trainable_weights
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(IDS) ** 2)
    gradients = tape.gradient(loss, model.variables)
    with pytest.warns(UserWarning, match=r"Gradients do not exist.*\['embedding/table'\]"):
        model.optimizer.apply(gradients, model.variables)
    assert verify(model, deep=True).steps == 0
    train_step(model, IDS, LABELS)
    assert verify(model, deep=True).steps == 1


def test_only_models_layers_and_variables_can_be_checked() -> None:
    verify(FrozenVariable(source()), deep=True)
    with pytest.raises(TypeError, match=r"received AlignedEmbeddings: .*sealed\.verify"):
        verify(source())


def test_nothing_frozen_is_an_error() -> None:
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(FrozenError, match="FrozenEmbedding"):
        verify(model)
    with pytest.raises(FrozenError, match="FrozenEmbedding"):
        fit(model, FreezeGuard())
    with pytest.raises(FrozenError, match="FrozenEmbedding"):
        train_step(model, IDS.astype("float32"), LABELS)


def test_train_step_is_a_step_by_hand() -> None:
    """Bit-equal to the tape that a user would write; with regularisers, and labels without axis."""
    trained = []
    for by_library in (True, False):
        keras.utils.set_random_seed(4)
        model = build_model(source(), hidden_units=())
        model.get_layer("output").kernel_regularizer = keras.regularizers.L2(0.1)
        optimizer, loss = keras.optimizers.Adam(0.01), keras.losses.MeanSquaredError()
        losses = []
        for low in range(0, len(IDS), BATCH):
            x, y = IDS[low : low + BATCH], LABELS[low : low + BATCH]
            if by_library:
                value = train_step(model, x, y[:, 0], loss="mse", optimizer=optimizer)
            else:
                with tf.GradientTape() as tape:
                    value = loss(y, model(x, training=True)) + sum(model.losses)
                weights = model.trainable_weights
                optimizer.apply(tape.gradient(value, weights), weights)
            losses.append(float(value))
        trained.append((losses, [weight.tobytes() for weight in model.get_weights()]))
    assert trained[0] == trained[1]
    assert trained[0][0][-1] != trained[0][0][0]


def test_train_step_uses_what_the_model_was_compiled_with() -> None:
    model = built()
    first = train_step(model, IDS, LABELS)
    assert float(first) == float(np.float32(first)) > 0
    assert int(model.optimizer.iterations.numpy()) == 1
    assert first.shape == ()


@pytest.mark.parametrize("loss", ["mse", keras.losses.mean_squared_error])
def test_train_step_leaves_padding_out_as_compile_does(loss: Any) -> None:
    ids, labels = IDS.copy(), np.random.default_rng(3).normal(size=(*IDS.shape, 1))
    ids[:, 2:] = VOCABULARY.padding_id
    model = build_model(source(), pooling=None)
    model.compile(keras.optimizers.SGD(0.0), "mse")  # a step changes nothing
    found = train_step(model, ids, labels, loss=loss, optimizer=keras.optimizers.SGD(0.0))
    assert float(found) == float(train_step(model, ids, labels))
    without = train_step(model, ids[:, :2], labels[:, :2])
    assert float(found) == float(without)


def test_train_step_computes_the_loss_in_full_precision() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = built()
        found = train_step(model, IDS, LABELS, loss="mse", optimizer=keras.optimizers.SGD(0.0))
    finally:
        keras.config.set_dtype_policy("float32")
    assert found.dtype == tf.float32


def test_train_step_of_a_model_with_several_outputs() -> None:
    embedded = FrozenEmbedding(source())(entry := keras.Input((5,), dtype="int32"))
    pooled = MaskedPooling()(embedded)
    model = keras.Model(entry, [keras.layers.Dense(1)(pooled), keras.layers.Dense(1)(pooled)])

    def loss(y: Any, predicted: list[Any]) -> Any:
        return (predicted[0] - y) ** 2 + (predicted[1] + y) ** 2

    before = [weight.numpy() for weight in model.trainable_weights]
    found = train_step(model, IDS, LABELS, loss=loss, optimizer=keras.optimizers.SGD(0.1))
    assert found.shape == ()
    assert float(found) > 0
    for old, new in zip(before, model.trainable_weights, strict=True):
        assert old.tobytes() != new.numpy().tobytes()


def test_train_step_asks_for_what_is_missing() -> None:
    model = build_model(source())
    with pytest.raises(ValueError, match="optimizer must be"):
        train_step(model, IDS, LABELS, loss="mse")
    with pytest.raises(ValueError, match=r"optimizer must be .*received 'sgd'"):
        train_step(model, IDS, LABELS, loss="mse", optimizer="sgd")
    with pytest.raises(ValueError, match="loss must be given"):
        train_step(model, IDS, LABELS, optimizer=keras.optimizers.SGD())

    @tf.function
    def compiled() -> Any:
        return train_step(model, IDS, LABELS, loss="mse", optimizer=keras.optimizers.SGD())

    with pytest.raises(FrozenError, match=r"inside a tf\.function"):
        compiled()
