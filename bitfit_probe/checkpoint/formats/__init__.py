"""One module a container format.

A format module defines ``NAMING``, how its files are called, ``matches(head, file) -> bool``, which looks at
the first bytes only, and ``read(file, key) -> Checkpoint``. `bitfit_probe.checkpoint.registry` finds the
modules by listing this package, so a new format is one new file.
"""
