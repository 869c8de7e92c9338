"""Past one device, and past one machine: one scope to build in, one `fit` for all of them.

Data parallel training, synchronous: every replica holds the whole model and sees its part of each global batch, and
gradients are averaged before a step. So N replicas on a global batch do what one device does on that batch. The
engines are those of TensorFlow and of Keras on JAX; nothing here trains by itself. What works with Keras 3.15 on
TensorFlow 2.21 and JAX 0.10, found by trying:

- ``"mirrored"``, several devices of this machine, on TensorFlow: `tf.distribute.MirroredStrategy`. `model.fit` works.
- ``"workers"``, several machines, on TensorFlow: `tf.distribute.MultiWorkerMirroredStrategy`. `model.fit` fails, see
  below.
- ``"data_parallel"``, several devices of this machine, on JAX: `keras.distribution.DataParallel`. `model.fit` works.
- ``"workers"``, several machines, on JAX: `keras.distribution.initialize`, then `DataParallel`. `model.fit` works.

And what stands in the way:

- On TensorFlow and several machines `model.fit` stops before its first step with ``ValueError: Attempt to convert a
  value (PerReplica:{…}) with an unsupported type (<class 'tensorflow.python.distribute.values.PerReplica'>) to a
  Tensor.``, and behind that with ``ValueError: Invalid reduction dimension 0 for input with 0 dimensions.``
  (keras-team/keras#20585, open). `fit` here hands the model's own ``train_step`` to ``strategy.run``, which works.
- `keras.distribution.DataParallel` on TensorFlow and PyTorch raises nothing: it trains on one device. `scope` refuses
  it there. PyTorch has no engine of these.

Several machines. Every machine runs the same program, with an environment that differs in the index alone::

    TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}'

`scope` reads it on both backends; on JAX ``KERAS_DISTRIBUTION_JOB_ADDRESSES``, ``…_NUM_PROCESSES`` and
``…_PROCESS_ID`` serve as well. It must come first, before anything is computed. All workers load a model, inside
`scope`; the chief alone (`is_chief`) saves, outside. Two workers on loopback give the weights of one device to 1e-5.

The data. A dataset gives global batches, alike on every worker (the same seed); each worker reads all of it and keeps
its part of each batch (`tf.data`'s shard policy DATA). That costs reading N times and gives the same batches whatever
the number of replicas. Where reading is the bottleneck, shard the files yourself.

The loss. Keras averages the replicas' losses. `fcn_keras.losses.PixelCrossentropy` is a mean over labelled pixels,
and a mean of means is not the mean where replicas hold unequal shares of void. `GlobalPixelCrossentropy` is the mean
over all replicas. The sum needs no mending, nor does JAX, where the batch is one array.

When a worker dies, the others stop: on TensorFlow after some ten seconds with ``UnavailableError: Collective ops is
aborted by: … The following tasks are unhealthy (stopped sending heartbeats) … Restart your program to reset.`` Start
all of them again, load the last checkpoint inside `scope` and pass ``initial_epoch``.
"""

import contextlib
import functools
import json
import os

import keras
from keras import ops

from ..losses import PixelCrossentropy

ENGINES = {
    ("mirrored", "tensorflow"): "tf.distribute.MirroredStrategy",
    ("workers", "tensorflow"): "tf.distribute.MultiWorkerMirroredStrategy",
    ("data_parallel", "jax"): "keras.distribution.DataParallel",
    ("workers", "jax"): "keras.distribution.initialize and DataParallel",
}


@contextlib.contextmanager
def scope(kind=None, devices=None):
    """Where a model is built and compiled, or loaded; `fit`, `evaluate` and saving come behind it, outside.

    On TensorFlow saving inside it, by the chief alone, breaks the workers' step; on JAX the distribution stays set
    for the rest of the process.

    Args:
        kind: ``"mirrored"``, ``"workers"``, ``"data_parallel"`` (see the table above) or None: one device.
        devices: Names of the devices, such as ``["GPU:0", "GPU:1"]``; by default all of this machine. Not for
            ``"workers"``, which take all.

    Yields:
        The number of replicas: the global batch must be a multiple of it.

    Raises:
        ValueError: If the backend has no such engine, or ``"workers"`` finds no cluster in the environment.

    Example:

    >>> with scope("mirrored", ["CPU:0"]) as replicas:
    ...     model = fcn_keras.FCN32s(21, backbone="mini_vgg", weights=None)
    ...     model.compile("adam", GlobalPixelCrossentropy())
    >>> replicas
    1
    """
    if kind is None:
        yield 1
        return
    engine = _engine(kind, tuple(devices) if devices else None)
    if keras.backend.backend() == "jax":  # Keras asks for it again in `fit`
        keras.distribution.set_distribution(engine)
        yield _replicas(engine)
        return
    with engine.scope():
        yield _replicas(engine)


def is_chief():
    """Whether this process is the one that writes files: the chief, worker 0 where no chief is named, or the only one.

    Example:

    >>> is_chief()
    True
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.process_index() == 0
    return _cluster()[1] == 0  # None for a parameter server or an evaluator


def fit(model, data, epochs=1, initial_epoch=0, callbacks=(), verbose=0):
    """Trains a model that was built in `scope`, in this process's part; every worker calls it alike.

    This is `model.fit` wherever that works, and the same steps through ``strategy.run`` where it does not.

    Args:
        model: Compiled model.
        data: `tf.data.Dataset` of global batches (images, masks), all of one size: ``drop_remainder=True``.
        epochs, initial_epoch, verbose: As in `model.fit`.
        callbacks: Keras callbacks. Those that write files belong to the chief: ``[…] if is_chief() else []``.

    Returns:
        The `keras.callbacks.History`.

    Raises:
        ValueError: If the batches have no fixed size, or one that the replicas cannot share equally.

    Example:

    >>> with scope("workers"):  # doctest: +SKIP
    ...     model = fcn_keras.FCN8s(21)
    ...     model.compile("adam", GlobalPixelCrossentropy(), metrics=[fcn_keras.metrics.SegmentationMetrics(21)])
    >>> fit(model, train, epochs=20)  # doctest: +SKIP
    """
    data = _shared(model, data)
    if not _by_steps(model):
        return model.fit(
            data, epochs=epochs, initial_epoch=initial_epoch, callbacks=list(callbacks), verbose=verbose, shuffle=False
        )
    with model.distribute_strategy.scope():
        model.optimizer.build(model.trainable_variables)
    told = keras.callbacks.CallbackList(
        list(callbacks), add_history=True, add_progbar=verbose != 0, model=model, epochs=epochs, verbose=verbose
    )
    model.stop_training = False
    told.on_train_begin()
    step, batches = _step(model, model.train_step, data)
    for epoch in range(initial_epoch, epochs):
        told.on_epoch_begin(epoch)
        model.reset_metrics()
        for number, batch in enumerate(batches):
            told.on_train_batch_begin(number)
            step(batch)
            told.on_train_batch_end(number)
        told.on_epoch_end(epoch, _measured(model))
        if model.stop_training:
            break
    told.on_train_end()
    return model.history


def evaluate(model, data):
    """Measures a model that was built in `scope`; metrics count the pixels of all replicas.

    Args:
        model: Compiled model.
        data: `tf.data.Dataset` of global batches, as for `fit`.

    Returns:
        Dict from the names of loss and metrics to floats, alike on every worker.

    Raises:
        ValueError: As `fit`.

    Example:

    >>> evaluate(model, validation)["mean_iou"]  # doctest: +SKIP
    """
    data = _shared(model, data)
    if not _by_steps(model):
        return model.evaluate(data, verbose=0, return_dict=True)
    model.reset_metrics()
    step, batches = _step(model, model.test_step, data)
    for batch in batches:
        step(batch)
    return _measured(model)


@keras.saving.register_keras_serializable(package="fcn_keras")
class GlobalPixelCrossentropy(PixelCrossentropy):
    """`fcn_keras.losses.PixelCrossentropy` over the labelled pixels of the whole global batch.

    On one device, and on JAX, the two are the same. On the replicas of `tf.distribute` the count of labelled pixels (or
    the sum of their class weights) is summed over them, one number for each step.

    Args:
        ignore_class, reduction, name, class_weights, label_smoothing: As in `fcn_keras.losses.PixelCrossentropy`.

    Example:

    >>> loss = GlobalPixelCrossentropy()
    >>> float(loss([[[0, 255]]], [[[[0.0, 0.0], [9.0, -9.0]]]]))  # ln 2: one pixel counts
    0.6931471824645996
    """

    def __call__(self, y_true, y_pred, sample_weight=None):
        value = super().__call__(y_true, y_pred, sample_weight)
        context = _replica_context()
        if context is None or self.reduction == "sum":  # sums add up as they are
            return value
        own = ops.cast(self.weight_of(y_true), value.dtype)
        share = ops.divide_no_nan(own, context.all_reduce("SUM", own))
        return context.num_replicas_in_sync * share * value  # Keras divides by the number of replicas


@functools.cache  # TensorFlow and JAX let a process join a cluster once
def _engine(kind, devices):
    backend = keras.backend.backend()
    if (kind, backend) not in ENGINES:
        offered = [name for name, of in ENGINES if of == backend] or "none"
        raise ValueError(
            f'Found kind={kind!r} on the backend {backend!r}: expected one of {offered}. Fix: KERAS_BACKEND="jax" for '
            '"data_parallel", "tensorflow" for "mirrored", either for "workers".'
        )
    if kind == "workers":
        return _workers(backend)
    if kind == "data_parallel":
        return keras.distribution.DataParallel(devices=devices)
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices)


def _workers(backend):
    addresses, index = _cluster()
    if index is None:
        raise ValueError("Found a task in TF_CONFIG that is no chief and no worker: expected one of them in a scope.")
    on_jax = "KERAS_DISTRIBUTION_JOB_ADDRESSES" in os.environ and backend == "jax"
    if len(addresses) < 2 and not on_jax:
        raise ValueError(
            f"Found {len(addresses)} worker addresses in TF_CONFIG={os.environ.get('TF_CONFIG')!r}: expected two or "
            'more, as in {"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", '
            '"index": 0}}. Fix: set it on every machine, each with an index of its own.'
        )
    if backend == "jax":
        keras.distribution.initialize(*([] if on_jax else [",".join(addresses), len(addresses), index]))
        return keras.distribution.DataParallel()
    import tensorflow as tf

    return tf.distribute.MultiWorkerMirroredStrategy()


def _cluster():
    """Addresses of the chief and the workers, in this order, and the place of this process among them, if it has one.

    A chief trains as a worker does; where none is named worker 0 is the chief, as in `tf.distribute`.
    """
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        found = json.loads(text)
        members = {kind: found.get("cluster", {}).get(kind, []) for kind in ("chief", "worker")}
        task = found.get("task", {})
        kind, index = task.get("type", "worker"), int(task.get("index", 0))
        places = [(each, number) for each, addresses in members.items() for number in range(len(addresses))]
        order = {place: number for number, place in enumerate(places)} or {(kind, index): 0}
        return members["chief"] + members["worker"], order.get((kind, index))
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"TF_CONFIG cannot be read ({error}): found {text!r}, expected JSON.") from error


def _replicas(engine):
    return getattr(engine, "num_replicas_in_sync", None) or engine.num_model_replicas


def _by_steps(model):
    """Whether the model lives on several machines of `tf.distribute`, where Keras' own loops fail."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return isinstance(model.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy)


def _step(model, step, data):
    """A step on all replicas, compiled, and the batches for it."""
    import tensorflow as tf

    strategy = model.distribute_strategy

    @tf.function
    def on_replicas(batch):
        strategy.run(step, args=(batch,))

    return on_replicas, strategy.experimental_distribute_dataset(data)


def _shared(model, data):
    """The dataset, checked, with the policy that gives every worker its part of each batch."""
    import tensorflow as tf

    engine = keras.distribution.distribution()
    if keras.backend.backend() == "tensorflow":
        engine = model.distribute_strategy
    replicas = _replicas(engine) if engine else 1
    sizes = {spec.shape[0] if spec.shape.rank else None for spec in tf.nest.flatten(data.element_spec)}
    if replicas > 1 and (None in sizes or any(size % replicas for size in sizes)):
        raise ValueError(
            f"Found batches of {sorted(map(str, sizes))} images for {replicas} replicas: expected one size, a multiple "
            f"of {replicas}. Fix: data.batch({replicas} * n, drop_remainder=True)."
        )
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return data.with_options(options)


def _measured(model):
    """Loss and metrics as floats, in one flat dict, as `model.fit` tells them."""
    numbers = {}
    for name, value in model.get_metrics_result().items():
        numbers |= value if isinstance(value, dict) else {name: value}
    return {name: float(value) for name, value in numbers.items()}


def _replica_context():
    """The replica that is computing just now, if `tf.distribute` runs several."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None
