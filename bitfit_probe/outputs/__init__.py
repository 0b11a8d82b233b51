"""Where results go on the disk: never over an input, whole or not at all, and nothing else left behind."""

from bitfit_probe.outputs.files import Content, write_files
from bitfit_probe.outputs.folders import held_folder, made_folder, new_folder, publish_folder, scratch_folder
from bitfit_probe.outputs.guard import refuse_overlap, refuse_taken
from bitfit_probe.outputs.lines import append_line
from bitfit_probe.outputs.trouble import cannot_write, told_as_output

__all__ = [
    "Content",
    "append_line",
    "cannot_write",
    "held_folder",
    "made_folder",
    "new_folder",
    "publish_folder",
    "refuse_overlap",
    "refuse_taken",
    "scratch_folder",
    "told_as_output",
    "write_files",
]
