"""One module a kind of directory that holds a checkpoint in a layout of its own.

A module defines ``recognises(folder) -> bool``, which looks at names only, and ``read(folder, key) ->
Checkpoint``. `bitfit_probe.checkpoint.opening` finds the modules by listing this package, and asks them only
where no weight file lies under a standard name.
"""
