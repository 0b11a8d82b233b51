"""Names asked by their pattern beside the same names asked one by one."""

import pytest

from bitfit_probe.architectures import families, recognise
from bitfit_probe.architectures.composite import Composite
from bitfit_probe.architectures.family import load_families

#: Numbers that a layer, an expert or anything else may have, with leading zeros and many digits as well.
NUMBERS = ("0", "1", "2", "7", "11", "23", "64", "127", "007", "999999")


def names_of(family):
    for entry in (entry for same in load_families()[family].entries.values() for entry in same):
        for number in NUMBERS:
            name = entry.template
            for mark in ("{layer}", "{expert}", "{n}", "{m}"):
                name = name.replace(mark, number if mark != "{layer}" else str(int(number) % 31))
            yield f"{name}.weight" if entry.is_module else name


@pytest.mark.parametrize("family", families())
@pytest.mark.parametrize("prefix", ["", "model.", "0.auto_model."])
def test_a_pattern_s_answer_is_that_of_each_name(family, prefix):
    names = [prefix + name for name in names_of(family)]
    names += [f"{prefix}to_out.{number}.weight" for number in NUMBERS] + ["classifier.3.bias", "a.#.1.bias"]
    known = recognise(names)
    for part in known.members.values() if isinstance(known, Composite) else (known,):
        for name in names:
            assert part.info(name, 2) == part._info(name, 2)
            assert part.canonical(name) == part._canonical(name)
