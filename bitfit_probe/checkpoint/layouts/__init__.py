"""One module a kind of directory that holds a checkpoint in a layout of its own.

A module defines ``MARKS``, what marks such a folder, ``matches(folder) -> bool``, which looks at names only,
and ``read(folder, key) -> Checkpoint``. `bitfit_probe.checkpoint.registry` finds the modules by listing this
package; they are asked only where no weight file lies under a standard name.
"""
