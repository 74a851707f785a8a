"""The model files that the landmarks can be found with."""

from __future__ import annotations

from processors.face_landmarks.bundle import DETECTOR, MESH, build_bundle
from vision import models

__all__ = ["MODELS"]

# The model files are the same in all of these; the others serve where a mirror lacks the first.
_WHEELS = (
    models.Wheel(
        requirement="mediapipe==0.10.21",
        python="3.11",
        platform="manylinux_2_28_x86_64",
        sha256="05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    ),
    models.Wheel(
        requirement="mediapipe==0.10.20",
        python="3.11",
        platform="manylinux_2_28_x86_64",
        sha256="e2ff42f684e18f65c3a8cc71930c393739433f8e9ef38847977f63e490ef8213",
    ),
    models.Wheel(
        requirement="mediapipe==0.10.18",
        python="3.11",
        platform="manylinux2014_x86_64",
        sha256="12db0f7b1cc18e2e3f604f6e95020b82c214c470d7d94ff32eeb8f8729a45ec3",
    ),
    models.Wheel(
        requirement="mediapipe==0.10.14",
        python="3.11",
        platform="manylinux2014_x86_64",
        sha256="a807328339e7356fda0bb14df12fedbf1d33bdf81649c5f8666b0026b1cc30b4",
    ),
)

ATTENTION = models.ModelFile(
    name="face_landmarks/attention",
    file_name="face_landmarks_attention_2.task",
    license="Apache-2.0",
    origin="the official mediapipe 0.10.21 wheel, by pip; its attention mesh is repackaged on this machine",
    sha256=None,
    obtain=models.from_wheel(
        _WHEELS,
        {
            DETECTOR: "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
            MESH: "e06a804e0144f9929eda782122916b35d60c697c3c9344013ca2bbe76a6ce2b4",
        },
        build_bundle,
    ),
    members=("face_detector.tflite", "face_landmarks_detector.tflite"),
)

_PUBLISHED = "https://storage.googleapis.com/mediapipe-models/face_landmarker"
_OFFICIAL_URL = f"{_PUBLISHED}/face_landmarker/float16/1/face_landmarker.task"

OFFICIAL = models.ModelFile(
    name="face_landmarks/official",
    file_name="face_landmarker.task",
    license="Apache-2.0",
    origin=_OFFICIAL_URL,
    sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    obtain=models.from_url(_OFFICIAL_URL),
)

MODELS = {"attention": ATTENTION, "official": OFFICIAL}
