"""Reads the weights in a ``.caffemodel`` file, without Caffe.

A caffemodel is a protobuf message. We declare only the fields with names and weights, and protobuf skips the others. We
declare weights as bytes, because a packed list of floats is stored in the same way and NumPy can use the bytes without
a copy.

Reference: Caffe's public message definition (NetParameter, LayerParameter, V1LayerParameter, BlobProto).
"""

import functools
import math

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from .._files import user_path

# Message → field → (number, type). A type is a protobuf type or another message. "+" means that the field is repeated.
MESSAGES = {
    "BlobShape": {"dim": (1, "+int64")},
    "Blob": {
        "num": (1, "int32"),
        "channels": (2, "int32"),
        "height": (3, "int32"),
        "width": (4, "int32"),
        "data": (5, "+bytes"),
        "shape": (7, "BlobShape"),
    },
    "Layer": {"name": (1, "bytes"), "blobs": (7, "+Blob")},
    "LayerV1": {"name": (4, "bytes"), "blobs": (6, "+Blob")},  # files written before 2015
    "Net": {"layers": (2, "+LayerV1"), "layer": (100, "+Layer")},
}


def read_caffemodel(path):
    """Reads the weights of each layer from a caffemodel file.

    Args:
        path: Path of the file, in today's format or in the format used before 2015.

    Returns:
        A dict from layer name to a list of float32 arrays, in Caffe's order and shapes: kernel ``(O, I, h, w)``, bias
        ``(O,)``. Layers without weights are left out.

    Raises:
        ValueError: If there is no such file, it is damaged or not a caffemodel, or a layer has too few or too many
            numbers for its shape.

    Example:

    >>> read_caffemodel("fcn8s-heavy-pascal.caffemodel")["fc7"][0].shape  # doctest: +SKIP
    (4096, 4096, 1, 1)
    """
    path = user_path(path)
    if not path.is_file():
        raise ValueError(f"No caffemodel at {path}. Fix: check the path and its spelling.")
    try:
        net = _make_message("Net").FromString(path.read_bytes())
        layers = {layer.name.decode(): layer.blobs for layer in [*net.layers, *net.layer]}
    except (DecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} cannot be read as a caffemodel ({error}): it is another kind of file, or incomplete. "
            "Fix: download it again."
        ) from error
    if not any(layers.values()):
        raise ValueError(
            f"Found no layer with weights in {path}. Fix: pass a .caffemodel, not a .prototxt or a .solverstate."
        )
    return {name: [_read_array(blob, name, path) for blob in blobs] for name, blobs in layers.items() if blobs}


def _read_array(blob, name, path):
    shape = tuple(blob.shape.dim) or (blob.num, blob.channels, blob.height, blob.width)
    data = b"".join(blob.data)
    if len(data) != 4 * math.prod(shape):
        raise ValueError(
            f"{path}, layer {name!r}: found {len(data)} bytes of weights for the shape {shape}, expected "
            f"{4 * math.prod(shape)}, in single precision. Fix: download the file again."
        )
    return np.frombuffer(data, "<f4").reshape(shape)


@functools.cache
def _make_message(name):
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_make_file())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}"))


def _make_file():
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for message_name, fields in MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for field_name, (number, kind) in fields.items():
            field = message.field.add(name=field_name, number=number)
            field.label = field.LABEL_REPEATED if kind.startswith("+") else field.LABEL_OPTIONAL
            kind = kind.removeprefix("+")
            if kind in MESSAGES:
                field.type, field.type_name = field.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                field.type = getattr(field, f"TYPE_{kind.upper()}")
    return file
