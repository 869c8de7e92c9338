"""The same net in the runtimes of its exports, beside Keras."""

import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

import fcn_keras
from fcn_keras.export import export_model
from fcn_keras.layers.labels import argmax_labels

CLASSES = 21
_FOLDER = tempfile.TemporaryDirectory()  # lives as long as the process


def prepare(variant, case):
    """As `keras_side.prepare`; a variant is a runtime, perhaps followed by a comma and ``int8`` or ``bfloat16``."""
    runtime, *switches = variant.split(", ")
    case = dict(case)
    assert case.pop("part") == "exported"
    return _exported(runtime, switches, **case)


def _exported(runtime, switches, *, backbone, size, labels):
    """Forward pass of FCN-8s on one image of a known size, to logits or to a mask."""
    keras.utils.set_random_seed(0)
    model = fcn_keras.FCN8s(CLASSES, backbone, weights=None)
    image = np.random.default_rng(0).uniform(0, 255, (1, size, size, 3)).astype("float32")
    if runtime == "keras":
        ending = argmax_labels if labels else (lambda x: x)
        work = tf.function(lambda x: ending(model(x, training=False)), autograph=False)
        return lambda: work(image).numpy()
    path = pathlib.Path(_FOLDER.name) / f"{backbone}-{size}-{labels}-{len(switches)}{SUFFIXES[runtime]}"
    calibration = [image[0]] if "int8" in switches else None
    export_model(model, path, size=(size, size), labels=labels, calibration=calibration)
    run = RUNTIMES[runtime](path, switches)
    return lambda: run(image)


def _saved_model(path, switches):
    """A function from a batch of images to the output of the file."""
    loaded = tf.saved_model.load(path)
    return lambda images: loaded.serve(images).numpy()


def _onnx(path, switches):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the others are measured beside it
    session = onnxruntime.InferenceSession(path, options)
    return lambda images: session.run(None, {"image": images})[0]


def _openvino(path, switches):
    import openvino

    precision = "bf16" if "bfloat16" in switches else "f32"
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return lambda images: compiled(images)[0]


def _litert(path, switches):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=2)
    interpreter.allocate_tensors()
    (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images):
        interpreter.set_tensor(given["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return run


RUNTIMES = {"saved_model": _saved_model, "onnx": _onnx, "openvino": _openvino, "litert": _litert}
SUFFIXES = {"saved_model": "", "onnx": ".onnx", "openvino": ".xml", "litert": ".tflite"}
