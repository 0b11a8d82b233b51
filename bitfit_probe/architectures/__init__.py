"""Architectures as data: what a tensor's name says about its role, layer, kind and layout.

Each family is one TOML file under ``families/`` (its entries are described in
:mod:`bitfit_probe.architectures.family`, the roles in :mod:`bitfit_probe.architectures.roles`);
adding a family means adding a file. Where no family fits, names are read by the words that most
architectures share (``generic.toml``), and the result says so.
"""

from __future__ import annotations

from bitfit_probe.architectures.architecture import Architecture, KnownFrom
from bitfit_probe.architectures.composite import Composite
from bitfit_probe.architectures.family import Classifier, Positions
from bitfit_probe.architectures.names import is_bias
from bitfit_probe.architectures.recognition import classifiers, families, family_of, recognise
from bitfit_probe.architectures.roles import ROLES

__all__ = [
    "ROLES",
    "Architecture",
    "Classifier",
    "Composite",
    "KnownFrom",
    "Positions",
    "classifiers",
    "families",
    "family_of",
    "is_bias",
    "recognise",
]
