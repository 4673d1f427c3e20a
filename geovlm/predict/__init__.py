"""From a user's image to features on a map.

Nothing here needs torch: the model answers in its own process, `geovlm.engine.programs.predict`.
"""
