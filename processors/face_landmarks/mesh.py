"""Which of the 478 points of MediaPipe's face mesh are which.

Points 0..467 are the mesh, 468..472 the iris of the subject's right eye, 473..477 that of the left (centre
first). "Left" and "right" are the subject's own, as in MediaPipe's connection tables.
"""

from __future__ import annotations

__all__ = [
    "BLENDSHAPE_POINTS",
    "CONTOURS",
    "EYE_CORNERS_OUTER",
    "INNER_LIP_LOWER",
    "INNER_LIP_UPPER",
    "LEFT_BROW",
    "LEFT_EYE",
    "LEFT_EYE_RING",
    "LIPS",
    "POINTS",
    "REFINED_EYE_OF_IMAGE_LEFT",
    "REFINED_EYE_OF_IMAGE_RIGHT",
    "REFINED_LIPS",
    "RIGHT_BROW",
    "RIGHT_EYE",
    "RIGHT_EYE_RING",
]

POINTS = 478

EYE_CORNERS_OUTER = (33, 263)

# p1..p6 of Soukupova and Cech, "Real-Time Eye Blink Detection using Facial Landmarks", 2016
RIGHT_EYE = (33, 160, 158, 133, 153, 144)
LEFT_EYE = (362, 385, 387, 263, 373, 380)

# the pairs of THEval (2026), mouth opening
INNER_LIP_UPPER = (191, 80, 81, 82, 13, 312, 311, 310)
INNER_LIP_LOWER = (95, 88, 178, 87, 14, 317, 402, 318)

# the brows and eyes of THEval (2026), of which it takes the centres
LEFT_BROW = (276, 282, 283, 285, 293, 295, 296, 300, 334, 336)
RIGHT_BROW = (46, 52, 53, 55, 63, 65, 66, 70, 105, 107)
LEFT_EYE_RING = (249, 263, 362, 373, 374, 380, 381, 382, 384, 385, 386, 387, 388, 390, 398, 466)
RIGHT_EYE_RING = (7, 33, 133, 144, 145, 153, 154, 155, 157, 158, 159, 160, 161, 163, 173, 246)

# Points that the attention mesh refines, in the order of its outputs:
# mediapipe/modules/face_landmark/tensors_to_face_landmarks_with_attention.pbtxt
# fmt: off
REFINED_LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
    76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408,
    62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407,
)
REFINED_EYE_OF_IMAGE_LEFT = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173,
    130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190,
    226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189,
    35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245,
    156, 70, 63, 105, 66, 107, 55, 193,
)
REFINED_EYE_OF_IMAGE_RIGHT = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398,
    359, 255, 339, 254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414,
    446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413,
    265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465,
    383, 300, 293, 334, 296, 336, 285, 417,
)

# the points that the blendshapes are made of: mediapipe/tasks/cc/vision/face_landmarker/face_blendshapes_graph.cc
BLENDSHAPE_POINTS = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80,
    81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153,
    154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251,
    263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318,
    321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386,
    387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
)
# fmt: on

# the 40 points of both rims: FACEMESH_LIPS of mediapipe 0.10.21, mediapipe/python/solutions/face_mesh_connections.py
LIPS = REFINED_LIPS[:40]

# face oval, both lips, eyes, brows and irises, as lines: FACEMESH_CONTOURS and FACEMESH_IRISES of the same file
# fmt: off
CONTOURS = (
    (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
     136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109, 10),
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185, 61),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191, 78),
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246, 33),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466, 263),
    (46, 53, 52, 65, 55), (70, 63, 105, 66, 107),
    (276, 283, 282, 295, 285), (300, 293, 334, 296, 336),
    (469, 470, 471, 472, 469), (474, 475, 476, 477, 474),
)
# fmt: on
