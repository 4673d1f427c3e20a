"""Published protocols, each a function from records to scores.

`contract` has the types, `records` reads prediction files, `catalogue` finds protocols by name and
`scoring` applies one to a file. The other modules hold the protocols themselves, each with a strict
score next to the published one.
"""
