"""Makes a `.task` bundle for MediaPipe's FaceLandmarker out of the attention mesh of its earlier releases.

The attention mesh has seven outputs: 468 mesh points (x, y, z), refined lips and eyes (x, y), two irises
(x, y) and the presence logit. FaceLandmarker wants two: 478 points (x, y, z) and the logit. The operators
RESHAPE, CONCATENATION and GATHER, appended to the model, make the one from the other. x and y of a refined
point replace those of the mesh; an iris takes its z from one point of the upper lid (the original averages
sixteen).

FaceLandmarker compares the presence with a limit and keeps it to itself. The depths of two points of an iris, which are
that of its middle once more, carry it out: one is the logit, the other 1, and MediaPipe scales both alike.

FaceLandmarker also wants to know how to scale pixels, from metadata that the earlier models lack.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.face_landmarks.mesh import (
    POINTS,
    REFINED_EYE_OF_IMAGE_LEFT,
    REFINED_EYE_OF_IMAGE_RIGHT,
    REFINED_LIPS,
)

__all__ = [
    "DETECTOR",
    "DETECTOR_FILE",
    "MESH",
    "MIDDLE_OF_IRIS",
    "PRESENCE_POINT",
    "UNIT_POINT",
    "build_bundle",
    "landmark_index",
]

DETECTOR = "mediapipe/modules/face_detection/face_detection_short_range.tflite"
MESH = "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite"
DETECTOR_FILE = "face_detector.tflite"
"""The detector's name in a bundle."""

MIDDLE_OF_IRIS, PRESENCE_POINT, UNIT_POINT = 473, 476, 477
"""Points of the left iris: the depth of the middle one is kept, those of the others are the presence logit, and 1."""

# number of floats in each output that holds points: mesh, lips, two eyes, two irises
_OUTPUT_SIZES = (3 * 468, 2 * 80, 2 * 71, 2 * 71, 2 * 5, 2 * 5)
_REFINED = ((1, REFINED_LIPS), (2, REFINED_EYE_OF_IMAGE_LEFT), (3, REFINED_EYE_OF_IMAGE_RIGHT))
_IRISES = ((4, 468, 159), (5, 473, 386))  # output, first point, point of the upper lid that lends its z

_PADDING_FIELD = 0xD935  # the extra field with which Android's zipalign pads
_ZIP_HEADER = 30  # bytes of a member's header before its name (APPNOTE.TXT 4.3.7)
_ALIGNMENT = 4  # MediaPipe maps the members into memory


def build_bundle(members: Mapping[str, bytes], target: Path) -> None:
    """Write the bundle; the same members give the same bytes.

    :param members: `DETECTOR` and `MESH` -> content.
    """
    detector = _Model(members[DETECTOR])
    detector.set_normalisation(mean=127.5, std=127.5)
    mesh = _Model(members[MESH])
    _join_outputs(mesh)
    mesh.set_normalisation(mean=0.0, std=255.0)
    files = {DETECTOR_FILE: detector.pack(), "face_landmarks_detector.tflite": mesh.pack()}
    target.write_bytes(_aligned_zip(files))


def landmark_index() -> NDArray[np.int32]:
    """Where the x, y, z of each point are among the outputs laid end to end, presence and a 1 last; `(478, 3)`."""
    offsets = np.cumsum((0, *_OUTPUT_SIZES))
    index = np.arange(3 * POINTS, dtype=np.int32).reshape(POINTS, 3)
    for output, points in _REFINED:
        index[list(points), :2] = _pairs(offsets[output], len(points))
    for output, first, lid in _IRISES:
        index[first : first + 5, :2] = _pairs(offsets[output], 5)
        index[first : first + 5, 2] = 3 * lid + 2
    index[[PRESENCE_POINT, UNIT_POINT], 2] = offsets[-1], offsets[-1] + 1
    return index


def _pairs(offset: int, count: int) -> NDArray[np.int32]:
    return np.arange(offset, offset + 2 * count, dtype=np.int32).reshape(count, 2)


def _join_outputs(model: _Model) -> None:
    *outputs, presence = model.outputs
    sizes = (*_OUTPUT_SIZES, 1)
    flat = [model.reshape(output, size) for output, size in zip([*outputs, presence], sizes, strict=True)]
    joined = model.concatenate([*flat, model.constant(np.ones(1, np.float32))], sum(sizes) + 1)
    model.outputs = [model.gather(joined, landmark_index().reshape(-1)), presence]


class _Model:
    """A TFLite model with one subgraph, to which operators can be appended."""

    def __init__(self, content: bytes) -> None:
        # in here, since MediaPipe takes a second to import
        from mediapipe.tasks.metadata import metadata_schema_py_generated, schema_py_generated

        self._tflite: Any = schema_py_generated
        self._metadata: Any = metadata_schema_py_generated
        self._model = self._tflite.ModelT.InitFromPackedBuf(content)
        self._model.signatureDefs = None  # they name the outputs that are replaced
        (self._graph,) = self._model.subgraphs

    @property
    def outputs(self) -> list[int]:
        """Numbers of the tensors that come out."""
        return list(self._graph.outputs)

    @outputs.setter
    def outputs(self, tensors: list[int]) -> None:
        self._graph.outputs = tensors

    def reshape(self, tensor: int, size: int) -> int:
        """Append RESHAPE to one dimension; the number of the new tensor."""
        options = self._tflite.ReshapeOptionsT()
        options.newShape = [size]
        shape = self.constant(np.array([size], np.int32))
        return self._operator("Reshape", options, [tensor, shape], size)

    def concatenate(self, tensors: list[int], size: int) -> int:
        """Append CONCATENATION; the number of the new tensor."""
        return self._operator("Concatenation", self._tflite.ConcatenationOptionsT(), tensors, size)

    def gather(self, tensor: int, index: NDArray[np.int32]) -> int:
        """Append GATHER; the number of the new tensor."""
        return self._operator("Gather", self._tflite.GatherOptionsT(), [tensor, self.constant(index)], index.size)

    def constant(self, values: NDArray[np.int32] | NDArray[np.float32]) -> int:
        """Add a tensor that holds these `(N,)`; its number."""
        types = self._tflite.TensorType
        kind = types.FLOAT32 if values.dtype == np.float32 else types.INT32
        return self._tensor("constant", values.size, kind, values.tobytes())

    def set_normalisation(self, *, mean: float, std: float) -> None:
        """Say in the metadata that the model wants `(pixel - mean) / std` of RGB."""
        meta = self._metadata
        unit = meta.ProcessUnitT()
        unit.optionsType = meta.ProcessUnitOptions.NormalizationOptions
        unit.options = meta.NormalizationOptionsT()
        unit.options.mean, unit.options.std = [mean], [std]
        self._set_metadata(self._image_input(unit))

    def pack(self) -> bytes:
        """The model as a file."""
        return _packed(self._model, b"TFL3")

    def _image_input(self, unit: Any) -> Any:
        meta = self._metadata
        tensor = meta.TensorMetadataT()
        tensor.name, tensor.processUnits = "image", [unit]
        tensor.content = meta.ContentT()
        tensor.content.contentPropertiesType = meta.ContentProperties.ImageProperties
        tensor.content.contentProperties = meta.ImagePropertiesT()
        tensor.content.contentProperties.colorSpace = meta.ColorSpaceType.RGB
        return tensor

    def _set_metadata(self, tensor: Any) -> None:
        content = self._metadata.ModelMetadataT()
        graph = self._metadata.SubGraphMetadataT()
        graph.inputTensorMetadata = [tensor]
        content.subgraphMetadata, content.minParserVersion = [graph], "1.0.0"
        entry = self._tflite.MetadataT()
        entry.name, entry.buffer = "TFLITE_METADATA", self._buffer(_packed(content, b"M001"))
        self._model.metadata = [entry]

    def _operator(self, name: str, options: Any, inputs: list[int], size: int) -> int:
        output = self._tensor(name.lower(), size, self._tflite.TensorType.FLOAT32, None)
        operator = self._tflite.OperatorT()
        operator.opcodeIndex = self._operator_code(getattr(self._tflite.BuiltinOperator, name.upper()))
        operator.inputs, operator.outputs = inputs, [output]
        operator.builtinOptionsType = getattr(self._tflite.BuiltinOptions, f"{name}Options")
        operator.builtinOptions = options
        self._graph.operators.append(operator)
        return output

    def _operator_code(self, builtin: int) -> int:
        codes = self._model.operatorCodes
        code = self._tflite.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.version = 1
        codes.append(code)
        return len(codes) - 1

    def _tensor(self, name: str, size: int, kind: int, data: bytes | None) -> int:
        tensor = self._tflite.TensorT()
        tensor.name = f"{name}_{len(self._graph.tensors)}"
        tensor.shape, tensor.type, tensor.buffer = [size], kind, self._buffer(data)
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _buffer(self, data: bytes | None) -> int:
        buffer = self._tflite.BufferT()
        buffer.data = None if data is None else np.frombuffer(data, np.uint8)
        self._model.buffers.append(buffer)
        return len(self._model.buffers) - 1


def _packed(root: Any, identifier: bytes) -> bytes:
    import flatbuffers  # type: ignore[import-untyped]

    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(root.Pack(builder), identifier)
    return bytes(builder.Output())


def _aligned_zip(files: Mapping[str, bytes]) -> bytes:
    """An archive without compression whose members start at multiples of four bytes."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            start = archive.tell() + _ZIP_HEADER + len(name) + struct.calcsize("<HH")
            padding = -start % _ALIGNMENT
            info.extra = struct.pack(f"<HH{padding}x", _PADDING_FIELD, padding)
            target.writestr(info, content)
    return archive.getvalue()
