"""Judges what arrived: what holds for every file, and the further checks that a flow asks for, one module each."""

from pytest_fileflow.checks.basics import Sha256Check, kms_check, latency_check, size_check
from pytest_fileflow.checks.chain import WRAPPINGS, Chain, Expected, Layer, LayerBroken, StreamCheck

__all__ = [
    "WRAPPINGS",
    "Chain",
    "Expected",
    "Layer",
    "LayerBroken",
    "Sha256Check",
    "StreamCheck",
    "kms_check",
    "latency_check",
    "size_check",
]
