"""Training on several devices or machines: `scope` to build the model in, `fit` and `evaluate` to use it.

Training is data parallel and synchronous. Every replica holds the whole model and trains on its part of each global
batch, and gradients are averaged before each step. N replicas therefore make the same step as one device on the whole
batch. TensorFlow and JAX do the work; `ENGINES` lists what they offer. PyTorch has none of these.

Several machines run the same program, each with its own index in the environment::

    TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}'

On JAX, ``KERAS_DISTRIBUTION_JOB_ADDRESSES``, ``…_NUM_PROCESSES`` and ``…_PROCESS_ID`` also work. `scope` reads the
environment. Call it before any computation. All workers load a model inside `scope`. Only the chief (`is_chief`) saves
it, outside `scope`. If a worker dies, the others stop with an error. Then start all workers again, load the last
checkpoint inside `scope`, and pass ``initial_epoch``.

A dataset gives global batches and must be the same on every worker. Each worker uses its part of each batch.
"""

import contextlib
import functools
import json
import os

import keras
import tensorflow as tf

from .global_losses import GlobalPixelCrossentropy

__all__ = ["ENGINES", "GlobalPixelCrossentropy", "evaluate", "find_engine", "fit", "is_chief", "scope"]

ENGINES = {
    ("mirrored", "tensorflow"): "tf.distribute.MirroredStrategy",
    ("workers", "tensorflow"): "tf.distribute.MultiWorkerMirroredStrategy",
    ("data_parallel", "jax"): "keras.distribution.DataParallel",
    ("workers", "jax"): "keras.distribution.initialize and DataParallel",
}


@contextlib.contextmanager
def scope(kind=None, devices=None):
    """A block in which a model is built and compiled, or loaded. Call `fit`, `evaluate` and ``save`` after the block.

    On TensorFlow, saving inside the block breaks the steps of the other workers. On JAX, the distribution stays set
    until the process ends.

    Args:
        kind: ``"mirrored"`` (several devices, TensorFlow), ``"data_parallel"`` (several devices, JAX), ``"workers"``
            (several machines) or None (one device).
        devices: Names of the devices, such as ``["GPU:0", "GPU:1"]``. By default all devices of this machine, which
            ``"workers"`` always uses.

    Yields:
        The number of replicas. The global batch must be a multiple of it.

    Raises:
        ValueError: If the backend has no such engine, or if the environment does not describe a cluster of
            ``"workers"``.

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
    engine = _make_engine(kind, tuple(devices) if devices else None)
    if jax := keras.backend.backend() == "jax":  # Keras reads it in `fit`
        keras.distribution.set_distribution(engine)
    with contextlib.nullcontext() if jax else engine.scope():
        yield _count_replicas(engine)


def is_chief():
    """Whether this process writes the files. This is the chief, or worker 0 if there is no chief, or the only process.

    Example:

    >>> is_chief()
    True
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.process_index() == 0
    return _read_cluster()[1] == 0  # None for a parameter server or an evaluator


def fit(model, data, epochs=1, initial_epoch=0, callbacks=(), verbose=0):
    """Trains a model that was built in `scope`. Every worker makes the same call.

    This is `keras.Model.fit`, except on several machines with TensorFlow. There, `fit` of Keras 3.15 fails before its
    first step (keras-team/keras#20585), so this function runs the model's ``train_step`` itself.

    Args:
        model: Compiled model.
        data: `tf.data.Dataset` of global batches (images, masks) of one size, as ``drop_remainder=True`` gives them.
        epochs, initial_epoch, verbose: As in `keras.Model.fit`.
        callbacks: Keras callbacks. Pass callbacks that write files only on the chief: ``[…] if is_chief() else []``.

    Returns:
        The `keras.callbacks.History`.

    Raises:
        ValueError: If the batches have no fixed size, or if it is not a multiple of the number of replicas.

    Example:

    >>> with scope("workers"):  # doctest: +SKIP
    ...     model = fcn_keras.FCN8s(21)
    ...     model.compile("adam", GlobalPixelCrossentropy(), metrics=[fcn_keras.metrics.SegmentationMetrics(21)])
    >>> fit(model, train, epochs=20)  # doctest: +SKIP
    """
    data = _share_batches(model, data)
    options = {"epochs": epochs, "verbose": verbose}
    if not _needs_own_loop(model):
        return model.fit(data, initial_epoch=initial_epoch, callbacks=list(callbacks), shuffle=False, **options)
    with model.distribute_strategy.scope():
        model.optimizer.build(model.trainable_variables)
    options |= {"model": model, "add_history": True, "add_progbar": verbose != 0}
    callbacks = keras.callbacks.CallbackList(list(callbacks), **options)
    model.stop_training = False
    callbacks.on_train_begin()
    step, batches = _compile_step(model, model.train_step, data)
    for epoch in range(initial_epoch, epochs):
        callbacks.on_epoch_begin(epoch)
        model.reset_metrics()
        for number, batch in enumerate(batches):
            callbacks.on_train_batch_begin(number)
            step(batch)
            callbacks.on_train_batch_end(number, {"loss": float(model.metrics[0].result())})
        callbacks.on_epoch_end(epoch, _read_logs(model))
        if model.stop_training:
            break
    callbacks.on_train_end()
    return model.history


def evaluate(model, data):
    """Measures a model that was built in `scope`, on the pixels of all replicas.

    Args:
        model: Compiled model.
        data: `tf.data.Dataset` of global batches, as for `fit`.

    Returns:
        Dict from the names of loss and metrics to floats, the same on every worker.

    Raises:
        ValueError: As in `fit`.

    Example:

    >>> evaluate(model, validation)["mean_iou"]  # doctest: +SKIP
    """
    data = _share_batches(model, data)
    if not _needs_own_loop(model):
        return model.evaluate(data, verbose=0, return_dict=True)
    model.reset_metrics()
    step, batches = _compile_step(model, model.test_step, data)
    for batch in batches:
        step(batch)
    return _read_logs(model)


def find_engine(devices):
    """The engine that trains on these devices. Call it before any computation, because it joins a cluster.

    Args:
        devices: ``"all"`` (all devices of this machine, or of all machines that ``TF_CONFIG`` names), a list of names
            such as ``["GPU:0", "GPU:1"]``, or None (one device).

    Returns:
        ``(kind, devices)``, the arguments of `scope`.

    Raises:
        ValueError: As in `scope`, or if a string is not ``"all"``.

    Example:

    >>> find_engine(["CPU:0"])
    ('mirrored', ['CPU:0'])
    """
    if devices is None:
        return None, None
    if isinstance(devices, str) and devices != "all":
        raise ValueError(f'Found devices={devices!r}: expected "all", or a list such as ["GPU:0", "GPU:1"].')
    names = None if devices == "all" else list(devices)
    kind = "data_parallel" if keras.backend.backend() == "jax" else "mirrored"
    kind = "workers" if names is None and len(_read_cluster()[0]) > 1 else kind
    _make_engine(kind, tuple(names) if names else None)
    return kind, names


@functools.cache  # because a process can join a cluster only once
def _make_engine(kind, devices):
    backend = keras.backend.backend()
    if (kind, backend) not in ENGINES:
        offered = [name for name, of in ENGINES if of == backend] or "none"
        raise ValueError(
            f"Found kind={kind!r} on the backend {backend!r}: expected one of {offered}. Fix: set KERAS_BACKEND to "
            '"jax" for "data_parallel", to "tensorflow" for "mirrored", and to one of them for "workers".'
        )
    if kind == "workers":
        return _join_workers(backend)
    if kind == "data_parallel":
        return keras.distribution.DataParallel(devices=devices)
    return tf.distribute.MirroredStrategy(devices)


def _join_workers(backend):
    addresses, index = _read_cluster()
    if index is None:
        raise ValueError("Found a task in TF_CONFIG that is neither chief nor worker: expected one of them.")
    on_jax = "KERAS_DISTRIBUTION_JOB_ADDRESSES" in os.environ and backend == "jax"
    if len(addresses) < 2 and not on_jax:
        raise ValueError(
            f"Found {len(addresses)} worker addresses in TF_CONFIG={os.environ.get('TF_CONFIG')!r}: expected two or "
            'more, as in {"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", '
            '"index": 0}}. Fix: set it on every machine, with a different index on each.'
        )
    if backend == "jax":
        keras.distribution.initialize(*([] if on_jax else [",".join(addresses), len(addresses), index]))
        return keras.distribution.DataParallel()
    return tf.distribute.MultiWorkerMirroredStrategy()


def _read_cluster():
    """Reads the addresses of the chief and the workers, in this order, and the position of this process, or None.

    As in `tf.distribute`, the chief also trains, and worker 0 is the chief if there is no other.
    """
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        cluster, task = (json.loads(text).get(key, {}) for key in ("cluster", "task"))
        members = [(kind, *each) for kind in ("chief", "worker") for each in enumerate(cluster.get(kind, []))]
        own = task.get("type", "worker"), int(task.get("index", 0))
        places = [(kind, number) for kind, number, _ in members] or [own]
        return [address for *_, address in members], places.index(own) if own in places else None
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"TF_CONFIG cannot be read ({error}): found {text!r}, expected JSON.") from error


def _count_replicas(engine):
    return getattr(engine, "num_replicas_in_sync", None) or engine.num_model_replicas


def _needs_own_loop(model):
    """Whether the model is on several machines of `tf.distribute`, where Keras' loops fail."""
    return isinstance(getattr(model, "distribute_strategy", None), tf.distribute.MultiWorkerMirroredStrategy)


def _compile_step(model, step, data):
    """Compiles a step on all replicas. Returns it and its batches."""
    strategy = model.distribute_strategy

    @tf.function
    def on_replicas(batch):
        strategy.run(step, args=(batch,))

    return on_replicas, strategy.experimental_distribute_dataset(data)


def _share_batches(model, data):
    """Checks a dataset, and sets the option that gives every worker its part of each batch."""
    engine = getattr(model, "distribute_strategy", None) or keras.distribution.distribution()
    replicas = _count_replicas(engine) if engine else 1
    sizes = {spec.shape[0] if spec.shape.rank else None for spec in tf.nest.flatten(data.element_spec)}
    if replicas > 1 and (None in sizes or any(size % replicas for size in sizes)):
        raise ValueError(
            f"Found batches of {sorted(map(str, sizes))} images for {replicas} replicas: expected one size, a multiple "
            f"of {replicas}. Fix: use data.batch({replicas} * n, drop_remainder=True)."
        )
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return data.with_options(options)


def _read_logs(model):
    """Reads loss and metrics as floats in one flat dict, as in the logs of `keras.Model.fit`."""
    logs = {}
    for name, value in model.get_metrics_result().items():
        logs |= value if isinstance(value, dict) else {name: value}
    return {name: float(value) for name, value in logs.items()}
