"""Published scoring protocols, exactly, and the strict scores that stand beside them.

`contract` has the types, `records` reads prediction files, `catalogue` knows the protocols by name
and `scoring` applies one to a file. The other modules hold the protocols themselves.
"""
