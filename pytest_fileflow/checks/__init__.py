"""Judges what arrived: what holds for every file, and the further checks that a flow asks for, one module each."""

from pytest_fileflow.checks.basics import Sha256Check, latency_check, size_check
from pytest_fileflow.checks.chain import WRAPPINGS, Chain, Expected, Layer, LayerBroken, StreamCheck
from pytest_fileflow.checks.place import Delivery, PlaceCheck

__all__ = [
    "WRAPPINGS",
    "Chain",
    "Delivery",
    "Expected",
    "Layer",
    "LayerBroken",
    "PlaceCheck",
    "Sha256Check",
    "StreamCheck",
    "latency_check",
    "size_check",
]
