from __future__ import annotations

import dataclasses
import posixpath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_fileflow.allow import AllowList, PatternError, host_name, parse, pattern_of
from pytest_fileflow.clock import Clock
from pytest_fileflow.engine import Engine, Limits
from pytest_fileflow.errors import NotAllowed
from pytest_fileflow.flight import Plan
from pytest_fileflow.model import NO_FILE, Case, Flow, Refusal, S3Location, SftpLocation, Transfer, Validation, Variant
from pytest_fileflow.reach import reach_of, refusal
from pytest_fileflow.registry import Registry, register_builtin_patterns
from pytest_fileflow.toolbox import Toolbox
from tests.support.inner import flow as config
from tests.support.memory import World

ARN = "arn:aws:lambda:eu-west-1:111111111111:function:file-transfer"


def sftp(host: str = "sftp.acme.example", folder: str = "/inbox", user: str = "acme", port: int = 22) -> SftpLocation:
    return SftpLocation(host, user, folder, "secret", port)


def covers(pattern: str, place: object) -> bool:
    return parse(pattern).covers(place)


@pytest.mark.parametrize(
    ("pattern", "prefix", "covered"),
    [
        ("s3://acme", "", True),
        ("s3://acme/", "in/deep/", True),
        ("s3://acme/in", "in", True),
        ("s3://acme/in/", "in/", True),
        ("s3://acme/in", "in/deep", True),
        ("s3://acme/in", "in-other/", False),
        ("s3://acme/in", "inbox", False),
        ("s3://acme/in/deep", "in/", False),
        ("s3://acme/in", "", False),
        ("s3://acme/in", "/in/", False),
        ("s3://acme//in", "/in/", True),
        ("s3://acme/in", "in//deep/", True),
        ("s3://acme/in/deep", "in//deep/", False),
        ("s3://acme/in", "IN/", False),
        ("s3://acme/in", "in/../out/", False),
        ("s3://acme", "../globex/", False),
        ("s3://acme", "in/./", False),
        ("s3://acme", "in/...", False),
        ("s3://acme", "in/.. /", False),
        ("s3://acme/in", "in/..\\..\\out", False),
        ("s3://acme", "in/\0/", False),
        ("s3://acme/*/in", "acme/in", True),
        ("s3://acme/*/in", "a/b/in", False),
        ("s3://acme/in/*", "in/", True),
        ("s3://acme/in/a*", "in/", False),
        ("s3://acme/in/a*", "in/abc", True),
        ("s3://acme/in/[a-z]", "in/a", False),
        ("s3://acm?", "", False),
        ("s3://ac*", "in", True),
        ("s3://*", "in", True),
        ("s3://acme-*", "", False),
        ("s3://acme*/in", "in", True),
        ("sftp://acme", "", False),
        ("lambda:acme", "", False),
    ],
)
def test_an_s3_pattern_covers_what_lies_below_it(pattern, prefix, covered):
    assert covers(pattern, S3Location("acme", prefix)) is covered


@pytest.mark.parametrize(
    ("pattern", "place", "covered"),
    [
        ("sftp://sftp.acme.example", sftp(), True),
        ("sftp://SFTP.Acme.Example.", sftp(), True),
        ("sftp://sftp.acme.example", sftp("SFTP.ACME.EXAMPLE."), True),
        ("sftp://acme.example", sftp(), False),
        ("sftp://sftp.acme.example", sftp("sftp.acme.example.evil.example"), False),
        ("sftp://*.acme.example", sftp(), True),
        ("sftp://*.example", sftp(), False),
        ("sftp://sftp.*", sftp(), False),
        ("sftp://*", sftp(), True),
        ("sftp://sftp.acme.example", sftp(port=2222), False),
        ("sftp://sftp.acme.example:2222", sftp(port=2222), True),
        ("sftp://sftp.acme.example:2222", sftp(), False),
        ("sftp://sftp.acme.example:022", sftp(), True),
        ("sftp://sftp.acme.example:*", sftp(port=2222), True),
        ("sftp://acme@sftp.acme.example", sftp(), True),
        ("sftp://globex@sftp.acme.example", sftp(), False),
        ("sftp://Acme@sftp.acme.example", sftp(), False),
        ("sftp://ac*@sftp.acme.example", sftp(), True),
        ("sftp://a@b@sftp.acme.example", sftp(user="a@b"), True),
        ("sftp://b@sftp.acme.example", sftp(user="a@b"), False),
        ("sftp://[::1]", sftp("::1"), True),
        ("sftp://[0:0:0:0:0:0:0:1]:22", sftp("::1"), True),
        ("sftp://[2001:DB8::1]:2222/in", sftp("2001:db8:0::1", "/in", port=2222), True),
        ("sftp://[::ffff:10.0.0.1]", sftp("10.0.0.1"), True),
        ("sftp://10.0.0.*", sftp("10.0.0.7"), True),
        ("sftp://10.*", sftp("10.0.0.7"), False),
        ("sftp://sftp.acme.example/", sftp(folder="anywhere"), True),
        ("sftp://sftp.acme.example/inbox", sftp(), True),
        ("sftp://sftp.acme.example/inbox/", sftp(folder="//inbox/./"), True),
        ("sftp://sftp.acme.example//inbox", sftp(folder="/inbox/deep"), True),
        ("sftp://sftp.acme.example/inbox", sftp(folder="/inbox2"), False),
        ("sftp://sftp.acme.example/inbox", sftp(folder="/"), False),
        ("sftp://sftp.acme.example/inbox", sftp(folder="inbox"), False),
        ("sftp://sftp.acme.example/~/inbox", sftp(folder="inbox"), True),
        ("sftp://sftp.acme.example/~/inbox", sftp(folder="./inbox/deep"), True),
        ("sftp://sftp.acme.example/~/inbox", sftp(folder="/inbox"), False),
        ("sftp://sftp.acme.example/~", sftp(folder="."), True),
        ("sftp://sftp.acme.example/~", sftp(folder="/~"), False),
        ("sftp://sftp.acme.example/inbox", sftp(folder="/inbox/../etc"), False),
        ("sftp://sftp.acme.example", sftp(folder="/inbox/../etc"), False),
        ("sftp://sftp.acme.example/inbox", sftp(folder="/inbox/..\\etc"), False),
        ("sftp://sftp.acme.example/inbox", sftp(folder="/inbox/.. "), False),
        ("sftp://sftp.acme.example/inbox/*", sftp(), True),
        ("sftp://sftp.acme.example/*/out", sftp(folder="/acme/out"), True),
        ("sftp://sftp.acme.example/*/out", sftp(folder="/acme/in/out"), False),
        ("s3://sftp.acme.example", sftp(), False),
    ],
)
def test_an_sftp_pattern_covers_a_server_and_what_lies_below_its_directory(pattern, place, covered):
    assert covers(pattern, place) is covered


@pytest.mark.parametrize(
    ("pattern", "function", "covered"),
    [
        ("lambda:file-transfer", ARN, True),
        ("lambda:file-transfer", f"{ARN}:live", True),
        ("lambda:file-transfer", "file-transfer", True),
        ("lambda:file-transfer", "file-transfer:7", True),
        ("lambda:file-transfer", "111111111111:function:file-transfer", True),
        ("lambda:file-transfer", f"{ARN}-2", False),
        ("lambda:file-*", ARN, True),
        ("lambda:transfer", ARN, False),
        ("lambda:File-Transfer", ARN, False),
        ("lambda:file-transfer:live", f"{ARN}:live", True),
        ("lambda:file-transfer:live", f"{ARN}:7", False),
        ("lambda:file-transfer:live", ARN, False),
        ("lambda:file-transfer:$LATEST", ARN, True),
        ("lambda:file-transfer:$LATEST", f"{ARN}:live", False),
        ("lambda:*", "anything at all::", True),
        (ARN, ARN, True),
        (ARN, f"{ARN}:live", True),
        (f"{ARN}:live", f"{ARN}:live", True),
        (f"{ARN}:l*", f"{ARN}:live", True),
        (f"{ARN}:live", ARN, False),
        (ARN, "file-transfer", False),
        ("arn:aws:lambda:*:*:function:file-*", ARN, True),
        ("arn:aws:lambda:*:*:function:file-*", "arn:aws-cn:lambda:cn-north-1:1:function:file-x", False),
        ("arn:aws:lambda:eu-west-1:222222222222:function:*", ARN, False),
        ("arn:aws:lambda:us-*:111111111111:function:*", ARN, False),
        ("arn:*:lambda:*:111111111111:function:file-transfer", "111111111111:function:file-transfer:7", True),
        ("s3://file-transfer", "file-transfer", False),
    ],
)
def test_a_function_pattern_covers_a_name_or_an_arn(pattern, function, covered):
    assert covers(pattern, function) is covered


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ftp://acme", "is of no kind known here: write s3://bucket/prefix, sftp://user@host:port/dir, lambda:name"),
        ("acme-bucket", "is of no kind known here"),
        ("S3://acme", "is of no kind known here"),
        ("*", "is of no kind known here"),
        ("s3://", "names no bucket"),
        ("s3:///in", "names no bucket"),
        ("s3://acme/in/../out", "has a segment like"),
        ("sftp://", "names no server"),
        ("sftp://@host", "names no server"),
        ("sftp://host:ssh", "names no server"),
        ("sftp://::1/in", "an IPv6 address in brackets"),
        ("sftp://host/in/../../etc", "has a segment like"),
        ("lambda:", "names no function"),
        ("lambda:a:b:c", "names no function"),
        ("arn:aws:s3:::acme", "names no function: write lambda:name"),
        ("arn:aws:lambda:*", "arn:aws:lambda:region:account:function:name"),
    ],
)
def test_what_is_no_pattern_is_told_with_the_remedy(text, words):
    with pytest.raises(PatternError, match=words.replace("*", r"\*").replace(":", r"\:")):
        parse(text)


@pytest.mark.parametrize("text", ["sftp://acme:hunter2@host/in", "ftp://acme:hunter2@host/in"])
def test_a_password_in_a_pattern_is_not_shown(text):
    with pytest.raises(PatternError) as told:
        parse(text)
    assert "hunter2" not in str(told.value)


SEGMENTS = st.sampled_from(["in", "out", "in-2", "a*b", "..", ".", "", "~", "..\\out", "... ", "é", "in\n"])
FOLDERS = st.lists(SEGMENTS, max_size=4).map("/".join)
HOSTS = st.sampled_from(["sftp.acme.example", "SFTP.acme.example.", "::1", "2001:DB8::1", "10.0.0.1", "fe80::1%eth0"])
PLACES = st.one_of(
    st.builds(S3Location, st.sampled_from(["acme", "acme-2"]), FOLDERS),
    st.builds(sftp, HOSTS, st.tuples(st.sampled_from(["", "/"]), FOLDERS).map("".join), st.just("acme"), st.just(22)),
    st.sampled_from([ARN, f"{ARN}:live", "file-transfer", "file-transfer:7", "1:function:a:b", "a::b"]),
)


@given(PLACES)
def test_the_pattern_that_is_hinted_covers_the_place(place):
    pattern = pattern_of(place)
    assert pattern is None or covers(pattern, place)
    if pattern is None:
        folder = place.prefix if isinstance(place, S3Location) else place.dir
        assert any(part in folder for part in ("..", ".", "\\", "\n", "~")), folder


@given(FOLDERS, FOLDERS, st.sampled_from(["", "/"]))
def test_what_is_covered_lies_below_the_pattern_however_a_server_reads_the_path(below, folder, start):
    pattern, place = f"sftp://host/{below}", sftp("host", f"{start}{folder}")
    try:
        read = parse(pattern)
    except PatternError:
        return
    assume(read.path is not None and "*" not in below)
    if read.covers(place):
        home = "" if place.dir.startswith("/") else "~/"
        for read_as in (place.dir, place.dir.replace("\\", "/")):
            assert resolved(f"{home}{read_as}").startswith(resolved(below))


def resolved(path: str) -> str:
    return f"/{posixpath.normpath(f'x/{path}').strip('/')}/"


@given(FOLDERS, FOLDERS)
def test_no_prefix_covers_a_key_that_does_not_begin_with_it(below, prefix):
    try:
        read = parse(f"s3://acme/{below}")
    except PatternError:
        return
    assume("*" not in below)
    place = S3Location("acme", prefix)
    if read.covers(place):
        allowed = below.removesuffix("/")
        assert not allowed or place.key("").startswith(f"{allowed}/")


def test_many_stars_cost_no_time():
    assert not covers(f"s3://{'*a' * 12}b", S3Location("a" * 60))
    assert not covers(f"s3://{'*' * 5000}b", S3Location("a" * 60))


@pytest.mark.parametrize(
    ("one", "same"),
    [("Host.", "host"), ("::1", "0:0:0:0:0:0:0:1"), ("::FFFF:10.0.0.1", "10.0.0.1"), ("host1", "HOST1")],
)
def test_a_host_has_one_spelling(one, same):
    assert host_name(one) == host_name(same)


def test_a_place_must_be_on_every_list():
    allow = AllowList(((parse("s3://acme"), parse("lambda:*")), (parse("s3://*/in"),)))
    assert allow.allows(S3Location("acme", "in/"))
    assert not allow.allows(S3Location("acme", "out/"))
    assert not allow.allows(S3Location("globex", "in/"))
    assert AllowList().allows(S3Location("globex", "in/"))
    assert not AllowList(((),)).allows(S3Location("globex", "in/"))


def test_a_refusal_names_all_that_is_not_allowed_and_what_would_allow_it():
    flow = Flow("acme", sftp(), S3Location("landing", "in/"), Transfer("invoke", ARN))
    error = refusal(Case(flow, NO_FILE), AllowList(((parse("s3://landing"),),)))
    assert isinstance(error, NotAllowed)
    assert error.reason == (f"acme names what is not on the allow-list: sftp://acme@sftp.acme.example:22/inbox/, {ARN}")
    assert f"'sftp://acme@sftp.acme.example:22/inbox' '{ARN}'" in error.hint
    assert refusal(Case(flow, NO_FILE), AllowList()) is None


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"side": "source"}, sftp(folder="/")),
        ({"side": "source", "dir": "/etc"}, sftp(folder="/etc")),
        ({"side": "target", "prefix": "secret/"}, S3Location("landing", "secret/")),
    ],
)
def test_a_case_reaches_where_it_must_not_write(options, place):
    flow = Flow("acme", sftp(), S3Location("landing", "in/"), Transfer("invoke", ARN))
    case = Case(flow, NO_FILE, "rejects", Refusal("forbidden_write", options))
    assert set(reach_of(case)) == {flow.source, flow.target, place, ARN}
    allow = AllowList(((parse("lambda:*"),),))
    assert place.uri() in refusal(case, allow).reason


def test_what_a_place_is_does_not_depend_on_how_many_runs_it_takes():
    assert dataclasses.replace(sftp(), max_runs=2) == sftp()


ALLOWED = ("--fileflow-allow", "s3://source-bucket/acme", "--fileflow-allow", "s3://target-bucket")


def test_nothing_is_touched_that_is_not_allowed(suite, monkeypatch):
    monkeypatch.setenv("FILEFLOW_CONTRACTS", "1")
    monkeypatch.setenv("FILEFLOW_LEFT", str(suite.path))
    suite.add("flows/acme.json", config("acme"))
    suite.add("flows/globex.json", config("globex"))
    result = suite.run("flows", *ALLOWED, "--fileflow-allow", "lambda:c*")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        ["config.not_allowed: globex names what is not on the allow-list: s3://source-bucket/globex/"]
    )
    result.stdout.fnmatch_lines(
        ["*add to each list that lacks it*, allow of the deployment on AWS): 's3://source-bucket/globex/'"]
    )
    records = {(record["flow_id"], record["case"]): record for record in suite.records()}
    assert records["globex", "4KiB"]["cause"] == records["globex", "contract"]["cause"] == "config.not_allowed"
    assert records["globex", "4KiB"]["timeline"].keys() == {"failed"}
    assert len([*suite.path.glob("invoked-*")]) == 1


@pytest.mark.parametrize(
    ("patterns", "cause"),
    [((), "missing.misplaced"), (("s3://source", "s3://target/in", "lambda:*"), "missing.not_picked_up")],
)
def test_a_lost_file_is_looked_for_within_the_list_alone(patterns, cause):
    world = World()
    world.route(S3Location("source", "out/"), S3Location("target", "elsewhere/"))
    made = []

    def endpoint(**fields):
        made.append(S3Location(**fields))
        return world.endpoint(made[-1])

    def invoke(lambda_arn, payload, invocation):
        return world.invoke(Transfer("invoke", "function", invocation), payload)

    registry = Registry()
    register_builtin_patterns(registry)
    allow = AllowList((tuple(map(parse, patterns)),) if patterns else ())
    tools = Toolbox(endpoint, endpoint, invoke).tools(registry, Clock(), lambda run: (), allow)
    rules = Validation(0.3, 0.1, post_arrival_wait_seconds=0.0)
    flow = Flow("acme", S3Location("source", "out/"), S3Location("target", "in/"), Transfer("invoke", "f"), rules)
    engine = Engine(Limits(4, 4), Clock(), Keeping())
    engine.launch("key", Case(flow, Variant("", 100)), tools, Plan())
    run = engine.result("key")
    engine.close()
    assert run.verdict.cause == cause, run.verdict
    assert all(map(allow.allows, made))
    if patterns:
        assert "s3://target/elsewhere/" in {place for place, _ in world.storage.everything()}


class Keeping:
    """A logbook that keeps nothing."""

    def enter(self, key, case, run):
        pass

    def record(self, case, run):
        return run


def test_tests_in_python_are_held_to_the_list(suite):
    suite.pytester.makeconftest("")
    suite.pytester.makepyfile(
        """
        import pytest
        from pytest_fileflow.errors import NotAllowed

        def test_fixtures(s3_endpoint, sftp_endpoint, transfer_invoker):
            assert s3_endpoint("acme", "in/").location.bucket == "acme"
            for make in (
                lambda: s3_endpoint("acme", "out/"),
                lambda: sftp_endpoint("host", "user", "/", "secret"),
                lambda: transfer_invoker("function", {}),
            ):
                with pytest.raises(NotAllowed):
                    make()
        """
    )
    suite.run("--fileflow-allow", "s3://acme/in").assert_outcomes(passed=1)
