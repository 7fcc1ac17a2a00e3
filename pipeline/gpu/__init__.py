"""What is done on a machine with one GPU in a given time, and how it gets there.

`python -m pipeline.gpu` checks, measures and trains; `pack` and `unpack` bring data and libraries
to a machine that may be bare and without network. `unpack` needs nothing but Python.
"""
