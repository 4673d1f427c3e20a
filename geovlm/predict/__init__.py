"""A model put to work on images: scenes, windows, answers, merged features, files for a map.

Engine-free: the model answers in a process of its own, `geovlm.engine.programs.predict`.
"""
