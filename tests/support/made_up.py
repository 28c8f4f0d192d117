"""Flows, cases and runs as Hypothesis makes them up: every field of the model, with what is hard to hand on."""

from __future__ import annotations

from hypothesis import strategies as st

from pytest_fileflow.model import (
    Case,
    CheckResult,
    CheckSpec,
    Contract,
    Flow,
    Inside,
    Latency,
    Observed,
    PayloadFile,
    Recipe,
    Refusal,
    Rehearsal,
    Run,
    S3Location,
    SftpLocation,
    Stat,
    TestData,
    Transfer,
    Validation,
    Variant,
    Verdict,
    Wrap,
)

# Any letter, half characters too: an SFTP server's names need not be UTF-8.
texts = st.text(st.characters(), max_size=12)
names = texts | st.sampled_from(["orders ünïcode 名前.csv", "caf\udce9.bin", "-rf", "a'b\"c.csv", "surrogates:6465"])
numbers = st.integers(0, 2**40)
seconds = st.floats(0, 1e6, allow_nan=False)
leaves = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | seconds | texts
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
options = st.dictionaries(texts, values, max_size=3)
few_texts = st.lists(texts, max_size=3).map(tuple)

locations = st.builds(S3Location, names, names, st.none() | texts) | st.builds(
    SftpLocation, texts, texts, names, texts, st.integers(1, 65535), st.none() | texts, numbers, st.none() | numbers
)
transfers = st.builds(
    Transfer,
    st.sampled_from(["invoke", "event", "trigger_file"]),
    st.none() | texts,
    st.sampled_from(["Event", "RequestResponse"]),
    values,
    st.none() | seconds,
    names,
    texts,
)
validations = st.builds(
    Validation,
    *(seconds, seconds, st.sampled_from(["SHA256", "none"]), numbers, seconds),
    st.lists(st.builds(CheckSpec, texts, options), max_size=3).map(tuple),
    few_texts,
)
variants = st.builds(Variant, texts, numbers, st.booleans())
wraps = st.lists(st.builds(Wrap, texts, options), max_size=3).map(tuple)
testdata = st.builds(
    TestData,
    st.lists(variants, max_size=3).map(tuple),
    *(texts, texts, st.none() | names, st.booleans(), options, wraps, few_texts),
)
refusals = st.builds(Refusal, texts, options)
flows = st.builds(
    Flow,
    *(texts, locations, locations, transfers, validations, testdata, st.none() | numbers, st.booleans(), texts, texts),
    *(few_texts, options, texts, st.builds(Contract, st.booleans()), st.lists(refusals, max_size=2).map(tuple)),
    few_texts,
)
cases = st.builds(
    Case,
    flows,
    variants,
    st.sampled_from(["transfer", "contract", "canary", "rejects"]),
    st.none() | refusals,
    st.none() | st.builds(Rehearsal, texts, texts, st.none() | texts),
)
strays = st.lists(st.tuples(locations, names), max_size=3).map(tuple)
verdicts = st.builds(
    Verdict,
    st.sampled_from(["passed", "failed", "error"]),
    *(st.none() | texts, st.none() | texts, st.none() | texts, options, strays),
)
files = st.builds(
    PayloadFile,
    *(names, numbers, texts, texts, st.lists(st.builds(Inside, texts, numbers, texts), max_size=2).map(tuple)),
    *(st.none() | numbers, st.none() | texts, st.none() | st.builds(Recipe, texts, numbers, options, wraps)),
)
stats = st.builds(Stat, names, numbers, texts, st.none() | seconds, st.none() | texts, st.none() | texts)
runs = st.builds(
    Run,
    *(texts, texts, texts, texts, numbers, files, st.dictionaries(texts, texts, max_size=3)),
    st.lists(st.tuples(st.sampled_from(["source", "target"]), names), max_size=3).map(tuple),
    st.none() | st.builds(Observed, names, numbers, st.none() | texts),
    st.none() | st.builds(Latency, seconds, seconds),
    st.lists(st.builds(CheckResult, texts, st.booleans(), texts, texts), max_size=3).map(tuple),
    *(options, few_texts, strays, st.none() | verdicts),
)
