"""Teaching: activities of one's own, known by their examples, on each modality's tokens and its signal's own shape.

Pure: no clock, no threads, and no input or output but for ``store``.
"""
