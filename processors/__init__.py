"""The built-in processors: written against `vision`'s public names only, and registered like anybody's.

`face_landmarks` is `processors.face_landmarks:FaceLandmarksProcessor`,
`frame_quality` is `processors.frame_quality:FrameQualityProcessor`.
"""
