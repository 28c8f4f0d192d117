"""A table of configs and the exact lines that a person is shown for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_fileflow.config import BrokenFlow, load_file

S3 = "{type: S3, bucket: landing}"
ENDS = f"source: {S3}\ntarget: {S3}\n"
FLOW = f"flow_id: acme\n{ENDS}"
SFTP = "target: {type: SFTP, host: sftp.example.com, username: acme, dir: /inbox, secret_arn: sftp/acme%s}\n"
TO_SFTP = f"flow_id: acme\nsource: {S3}\n{SFTP}"
LETTERS = 'must start with a letter or digit and go on with letters, digits, "_", "." and "-"'
SELECTABLE = (
    'must start with a letter or digit and go on with letters, digits, "_", ".", "/", "+" and "-", '
    "so that pytest -m can select it"
)
FINE = "is not replaced (fine with --fileflow-sandbox)"
NO_VALUE = "a value is missing here: a string in double quotes, a number, true, false, null, { or ["
BRACES = 'put text with "${" in quotes: between "{" and "}", or "[" and "]", its braces are those of YAML'
ONE_LINE = "a string must stand on one line: write \\n or \\t for a line break or a tab"
ROOT = 'must be an object with flow_id, source and target, or {"flows": […]}'


def problems(
    tmp_path: Path, text: str | bytes, suffix: str = ".yaml", *, sandbox: bool = False
) -> list[tuple[str, int, list[str]]]:
    """Load a file that gives broken flows, and return the name, line and lines of each."""
    path = tmp_path / f"case{suffix}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    patterns = {
        "random": lambda size: None,
        "fixed": lambda size: None,
        "csv": lambda size: None if size >= 10 else f"csv needs at least 10 bytes, not {size}",
    }
    checks = ("rows", "gzip", "csv_header", "kms", "metadata", "renamed", "sidecars", "tags")
    loaded = load_file(path, display=f"f{suffix}", sandbox=sandbox, patterns=patterns, checks=dict.fromkeys(checks))
    return [
        (each.name, each.line, [str(problem) for problem in each.problems])
        for each in loaded
        if isinstance(each, BrokenFlow)
    ]


DATA = Path(__file__).parent / "data" / "config"


def table(suffix: str) -> list[object]:
    """Read a table: after ``####`` a case's name, then its config, and after ``>>>>`` what is said of it."""
    cases = (DATA / f"messages{suffix}.txt").read_text(encoding="utf-8").removeprefix("#### ").split("\n#### ")
    pairs = ((case.partition("\n")[0], *case.partition("\n")[2].split("\n>>>>\n")) for case in cases)
    return [pytest.param(suffix, text, lines.splitlines(), id=f"{suffix} {name}") for name, text, lines in pairs]


SYNTAX_CASES = {
    ".json": {
        "": "1:1  $  the file is empty: a flow has at least flow_id, source and target",
        " \n\t": "1:1  $  the file is empty: a flow has at least flow_id, source and target",
        '{\n  "a": [1': '2:9  $  the file ends too early: a closing "]" is missing',
        '{"a": 1': '1:7  $  the file ends too early: a closing "}" is missing',
        '{"a": 1,\n}': '1:8  $  the comma before the closing "}" must go',
        '{"a": [1, ]}': '1:9  $  the comma before the closing "]" must go',
        '{"a": 1 "b": 2}': "1:9  $  a comma or a closing bracket is missing before this",
        '{"a" 1}': '1:6  $  a ":" is missing after the key',
        "{a: 1}": "1:2  $  a key in double quotes is missing here",
        "{'a': 1}": "1:2  $  JSON takes double quotes, not single ones",
        '{"a": True}': "1:7  $  write true instead of True",
        '{"a": None}': "1:7  $  write null instead of None",
        '{"a": }': f"1:7  $  {NO_VALUE}",
        '{\n// note\n"a": 1}': '2:1  $  JSON has no comments: use a key that starts with "x-", or YAML',
        "{} {}": "1:4  $  the config ends before this: several flows stand in a list under one key, flows",
        '{"a": "b}': "1:7  $  the string that begins here has no closing quote",
        '{"a": "b\nc"}': f"1:9  $  {ONE_LINE}",
        '{"a": "\\d"}': "1:8  $  unknown escape: write a backslash as \\\\",
        "[" * 5000: "1:101  $  is nested deeper than 100 levels",
    },
    ".yaml": {
        "": "1:1  $  the file is empty: a flow has at least flow_id, source and target",
        "# only\n---\n# notes\n": "1:1  $  the file is empty: a flow has at least flow_id, source and target",
        "a: b: c\n": '1:5  $  a ":" cannot stand here: put the text in quotes, or check the indentation',
        "a:\n\tb: 1\n": "2:1  $  a tab cannot indent YAML: use spaces",
        'x: 1\na: "x\nb: 1\n': "2:4  $  a quote is opened and never closed",
        "a: *x\n": "1:4  $  the alias names an anchor that is not defined before it",
        "a: &x 1\nb: &x 2\n": "2:4  $  the anchor is defined twice",
        "a:\n    b: 1\n  c: 2\n": "3:3  $  the indentation does not fit the lines above, or a key is missing",
        "a: @x\n": '1:4  $  text cannot start with "@": put it in quotes',
        "a: `x`\n": '1:4  $  text cannot start with "`": put it in quotes',
        "a: [1, 2\nb: 3\n": '2:2  $  a comma or the closing "]" of a list is missing before this',
        "a: {b: 1\n": '1:4  $  a comma or the closing "}" of a map is missing before this',
        "a: 1\nb\nc: 2\n": '2:1  $  a ":" is missing after this key, or the line is indented too little',
        "a: {": "1:4  $  a value is missing before this",
        "a: {b: x/${c}}": f"1:11  $  {BRACES}",
        "a: [${c}, b]": f"1:6  $  {BRACES}",
        "é: \x07\n": "1:4  $  the control character U+0007 is not allowed in YAML",
        "- " * 20000: "1:201  $  is nested deeper than 100 levels",
        "[" * 5000: "1:101  $  is nested deeper than 100 levels",
        "just text\n": f"1:1  $  {ROOT}, not a bare value",
    },
}


@pytest.mark.parametrize(("suffix", "text", "lines"), [*table(".yaml"), *table(".json")])
def test_what_is_said_of_a_config(tmp_path: Path, suffix: str, text: str, lines: list[str]) -> None:
    (broken,) = problems(tmp_path, text, suffix)
    assert broken[2] == [f"f{suffix}:{line}" for line in lines]


@pytest.mark.parametrize(
    ("suffix", "text", "line"),
    [
        pytest.param(suffix, text, line, id=f"{suffix} {text[:30]!r}")
        for suffix, cases in SYNTAX_CASES.items()
        for text, line in cases.items()
    ],
)
def test_syntax(tmp_path: Path, suffix: str, text: str, line: str) -> None:
    (broken,) = problems(tmp_path, text, suffix)
    assert broken[2] == [f"f{suffix}:{line}"]


JIRA = "{base_url: 'https://j.example', secret_arn: jira, project: <B>}"


def test_placeholders_are_fine_in_the_sandbox(tmp_path: Path) -> None:
    text = f"{FLOW}transfer: {{lambda_arn: 'arn:aws:lambda:...:<A>'}}\nalerts: {{jira: {JIRA}}}\n"
    assert len(problems(tmp_path, text)[0][2]) == 3
    assert problems(tmp_path, text, sandbox=True) == []


@pytest.mark.parametrize(
    "text",
    [
        "transfer: {lambda_arn: 'arn:aws:lambda:us-west-2:111111111111:function:x', payload: '<A>1</A>'}\n",
        "description: see the manual ...\n",
        "x-note: still <ACCOUNT_ID>\n",
        "alerts: {sns_topic_arn: 'arn:aws-us-gov:sns:us-gov-west-1:1111:x'}\n",
    ],
)
def test_what_looks_like_a_placeholder_and_is_none(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, FLOW + text) == []


def test_everything_wrong_is_shown_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        f"flow_id: acme\nversion: x\nsource: {S3}\nsource: {S3}\n"
        "target: {type: S3, bucket: b<NAME>, oops: 1}\n"
        "testdata: {pattern: rndom}\n"
    )
    ((name, line, lines),) = problems(tmp_path, text)
    assert (name, line) == ("acme", 1)
    assert lines == [
        'f.yaml:2:10  $.version  must be a whole number, not "x"',
        'f.yaml:4:1  $.source  the key "source" stands twice: first in line 3',
        f"f.yaml:5:28  $.target.bucket  placeholder <NAME> {FINE}",
        'f.yaml:5:37  $.target.oops  unknown key "oops"; known: bucket, kms_key_arn, prefix, type',
        'f.yaml:6:21  $.testdata.pattern  unknown pattern "rndom"; did you mean "random"?',
    ]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b'{"a": "\xe9"}', "1:8  $  byte 0xe9 is not UTF-8 text: save the file as UTF-8"),
        (b'{\n "\xc3\xa9": "\xff"}', "2:8  $  byte 0xff is not UTF-8 text: save the file as UTF-8"),
        ('{"flow_id": 1}'.encode("utf-16"), "1:1  $  the file is UTF-16 text: save it as UTF-8"),
        (b" " * (5 * 1024 * 1024 + 1), "1:1  $  the file has 5242881 bytes: a config has at most 5 MiB"),
    ],
)
def test_bytes_that_are_no_text(tmp_path: Path, data: bytes, line: str) -> None:
    assert problems(tmp_path, data, ".json") == [("case", int(line[0]), [f"f.json:{line}"])]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "gone.json", "the file cannot be read: No such file or directory"),
        (tmp_path, "this is not a regular file"),
    ):
        (broken,) = load_file(path, display="f.json", sandbox=True, patterns={}, checks={})
        assert isinstance(broken, BrokenFlow)
        assert [str(problem) for problem in broken.problems] == [f"f.json:1:1  $  {reason}"]


def test_aliases_that_name_billions_of_values_are_refused_quickly(tmp_path: Path) -> None:
    levels = [f"x-{n}: &n{n} [{', '.join([f'*n{n - 1}'] * 9)}]" for n in range(1, 12)]
    ((_, _, lines),) = problems(tmp_path, "x-0: &n0 [1]\n" + "\n".join(levels) + f"\n{FLOW}")
    assert len(lines) == 1
    assert lines[0].endswith("$  has more than 100000 values once its aliases are expanded")


def test_merges_that_multiply_are_refused_quickly(tmp_path: Path) -> None:
    levels = [f"x-{n}: &n{n} {{<<: [{', '.join([f'*n{n - 1}'] * 9)}]}}" for n in range(1, 12)]
    ((_, _, lines),) = problems(tmp_path, "x-0: &n0 {}\n" + "\n".join(levels) + f"\n{FLOW}")
    assert lines[0].endswith("$  has more than 100000 values once its aliases are expanded")


SECRET = "hunter2-swordfish"


@pytest.mark.parametrize(
    "text",
    [
        f"flow_id: acme\npassword: {SECRET}\n",
        f"flow_id: acme\nsource: {{type: SFTP, secret_arn: ['{SECRET}']}}\n",
        f"flow_id: acme\nsource: {{type: SFTP, secret_arn: '{SECRET} !'}}\n",
        f"flow_id: acme\ntransfer: {{payload: {{api_key: 'x${{{SECRET}}}'}}}}\n",
        f"flow_id: acme\nalerts: {{slack_webhook_secret_arn: !x {SECRET}}}\n",
        f"flow_id: acme\nsource: {{type: SFTP, host: 'sftp://me:{SECRET}@h'}}\n",
        f"flow_id: |\n  -----BEGIN PRIVATE KEY-----\n  {SECRET}\n",
        f"password: '{SECRET}\n",
        f"password: @{SECRET}\n",
        f"{SECRET}\n",
    ],
)
def test_no_message_gives_a_secret_away(tmp_path: Path, text: str) -> None:
    found = problems(tmp_path, text)
    assert found
    assert SECRET not in str(found)


SLACK = f"https://hooks.slack.com/{SECRET}"
AN_ADDRESS = (
    "this is an address (not shown), and the secret that holds it is meant: put it into Secrets Manager, and name that"
)
NO_NAME = (
    "must name a secret by an ARN or a name in Secrets Manager, an ARN in Parameter Store or ssm:/path, env:NAME, "
    "or file:/path"
)
AN_ARN = "must be the ARN of a secret: arn:aws:secretsmanager:… or arn:aws:ssm:…:parameter/…"
NAMES = {
    "sftp/acme": None,
    "ssm:/sftp/acme": None,
    "ssm:acme:3": None,
    "arn:aws:ssm:eu-west-1:111111111111:parameter/sftp/acme": None,
    "env:ACME_LOGIN": None,
    "file:/run/secrets/acme.json": None,
    "file:~/keys/acme key.pem": None,
    "file:../keys/acme.pem": None,
    f"smm:/{SECRET}": f'{NO_NAME}; did you mean "ssm:"?',
    "ENV:ACME_LOGIN": f'{NO_NAME}; did you mean "env:"?',
    "files:acme.json": f'{NO_NAME}; did you mean "file:"?',
    f"vault:{SECRET}": NO_NAME,
    f"ssm:/{SECRET}?": "ssm: must be followed by the name of a parameter: letters, digits and . _ - /",
    "ssm:": "ssm: must be followed by the name of a parameter: letters, digits and . _ - /",
    f"env:{SECRET}=1": "env: must be followed by the name of an environment variable: letters, digits and _",
    f"file://{SECRET}": (
        "file: must be followed by the name of a file: file:/path, file:~/path, or a path from here on"
    ),
    "arn:aws:ssm:eu-west-1:111111111111:document/acme": AN_ARN,
    "arn:aws:s3:::acme": AN_ARN,
}


@pytest.mark.parametrize(("name", "problem"), NAMES.items())
@pytest.mark.parametrize(
    "where", ["$.target.secret_arn", "$.alerts.jira.secret_arn", "$.alerts.webhook.url_secret_arn"]
)
def test_how_a_secret_may_be_named(tmp_path: Path, name: str, problem: str | None, where: str) -> None:
    names = dict.fromkeys(("target", "jira", "webhook"), "sftp/acme") | {where.split(".")[-2]: name}
    text = (
        "flow_id: acme\nsource: {type: S3, bucket: landing}\n"
        f"target: {{type: SFTP, host: h, username: u, dir: /in, secret_arn: '{names['target']}'}}\n"
        f"alerts: {{jira: {{base_url: 'https://j.example', project: P, secret_arn: '{names['jira']}'}}, "
        f"webhook: {{url_secret_arn: '{names['webhook']}'}}}}\n"
    )
    found = problems(tmp_path, text)
    said = [line.partition("  ")[2] for _, _, lines in found for line in lines]
    assert said == ([] if problem is None else [f"{where}  {problem}"])
    assert SECRET not in str(found)


@pytest.mark.parametrize(
    ("alerts", "path", "problem"),
    [
        (f"slack_webhook_secret_arn: '{SLACK}'", "slack_webhook_secret_arn", AN_ADDRESS),
        (f"slack_webhook_secret_arn: 'https://<COMPANY>.example/{SECRET}'", "slack_webhook_secret_arn", AN_ADDRESS),
        (f"slack_webhook_secret_arn: 'hooks.slack.com/services/{SECRET}'", "slack_webhook_secret_arn", AN_ADDRESS),
        (f"slack_webhook_secret_arn: 'arn:aws:secretsmanager:{SLACK}'", "slack_webhook_secret_arn", AN_ADDRESS),
        (f"slack_webhook_secret_arn: 'services?token={SECRET}'", "slack_webhook_secret_arn", NO_NAME),
        (f"jira: {{base_url: 'https://j.example', project: P, secret_arn: '{SLACK}'}}", "jira.secret_arn", AN_ADDRESS),
        (f"servicenow: {{instance_url: 'https://x', secret_arn: '{SLACK}'}}", "servicenow.secret_arn", AN_ADDRESS),
        (f"webhook: {{url: 'https://x', secret_arn: '{SLACK}'}}", "webhook.secret_arn", AN_ADDRESS),
        (f"webhook: [{{url_secret_arn: '{SLACK}'}}]", "webhook[0].url_secret_arn", AN_ADDRESS),
        (
            f"sns_topic_arn: '{SLACK}'",
            "sns_topic_arn",
            "this is an address (not shown), and the ARN of an SNS topic is meant",
        ),
        (f"webhook: '{SLACK}'", "webhook", "must be an object, not a string (not shown)"),
    ],
)
@pytest.mark.parametrize("sandbox", [False, True])
def test_an_address_where_a_secret_is_to_be_named_is_refused_and_not_shown(
    tmp_path: Path, alerts: str, path: str, problem: str, *, sandbox: bool
) -> None:
    ((_, _, lines),) = problems(tmp_path, f"{FLOW}alerts: {{{alerts}}}\n", sandbox=sandbox)
    assert lines[0].partition("  ")[2] == f"$.alerts.{path}  {problem}"
    assert SECRET not in str(lines)


PAGERDUTY = "url: 'https://events.pagerduty.com/v2/enqueue', template: pagerduty"


@pytest.mark.parametrize("sandbox", [False, True])
def test_pagerduty_needs_the_secret_of_its_key(tmp_path: Path, *, sandbox: bool) -> None:
    text = FLOW + "alerts: {webhook: [{%s}, {%s, secret_arn: pd}]}\n"
    ((_, _, lines),) = problems(tmp_path, text % (PAGERDUTY, PAGERDUTY), sandbox=sandbox)
    needed = "pagerduty needs secret_arn beside it: a secret that holds routing_key, the key of the integration"
    assert [line.partition("  ")[2] for line in lines] == [f"$.alerts.webhook[0].template  {needed}"]


@pytest.mark.parametrize("arn", ["arn:aws:sqs:us-east-1:123456789012:alerts", "arn:aws:s3:::alerts"])
@pytest.mark.parametrize("sandbox", [False, True])
def test_an_arn_of_another_service_is_refused_in_alerts(tmp_path: Path, arn: str, *, sandbox: bool) -> None:
    text = f"{FLOW}alerts: {{sns_topic_arn: '{arn}', slack_webhook_secret_arn: '{arn}'}}\n"
    ((_, _, lines),) = problems(tmp_path, text, sandbox=sandbox)
    assert [line.partition("  ")[2] for line in lines] == [
        "$.alerts.sns_topic_arn  must be the ARN of an SNS topic: arn:aws:sns:…",
        f"$.alerts.slack_webhook_secret_arn  {AN_ARN}",
    ]


@pytest.mark.parametrize("arn", ["arn:aws:sqs:...:alerts", "arn:aws:sqs:<REGION>:123456789012:alerts", "arn:aws:sqs:x"])
def test_an_arn_that_is_yet_to_be_filled_in_is_fine_in_the_sandbox(tmp_path: Path, arn: str) -> None:
    text = f"{FLOW}alerts: {{sns_topic_arn: '{arn}', slack_webhook_secret_arn: '<SECRET>'}}\n"
    assert problems(tmp_path, text, sandbox=True) == []


def test_numbers_that_may_be_secrets_are_not_shown(tmp_path: Path) -> None:
    ((_, _, lines),) = problems(tmp_path, (TO_SFTP % "").replace("sftp/acme", "8675309"))
    problem = "must be a string, but YAML reads this as another type: put it in quotes"
    assert lines == [f"f.yaml:3:87  $.target.secret_arn  {problem}"]


def test_messages_stay_on_one_line(tmp_path: Path) -> None:
    ((_, _, lines),) = problems(tmp_path, f'flow_id: "a\\e[31m\\nb\u2028"\n"k\\ney": 1\n{ENDS}')
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
