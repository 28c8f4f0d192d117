from __future__ import annotations

import pytest

from pytest_fileflow.config.groups import BadGroup, Member, read_groups
from tests.support.inner import flow


def read(folder, *names):
    return read_groups(names or ("nightly",), [folder])


@pytest.mark.parametrize(
    ("name", "text", "ids"),
    [
        ("nightly.json", '["acme", "globex"]', ["acme", "globex"]),
        ("nightly.yaml", "- acme\n- globex_*", ["acme", "globex_*"]),
        ("nightly.yml", "description: every night\nflows: [acme]", ["acme"]),
        ("nightly.json", '{"$schema": "x", "x-note": 1, "flows": ["acme"]}', ["acme"]),
    ],
)
def test_a_group_is_a_list_of_ids(tmp_path, name, text, ids):
    (tmp_path / name).write_text(text)
    assert [member.flow_id for member in read(tmp_path).members] == ids


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("nightly.json", "{", "groups/nightly.json:1:1  $  the file ends too early"),
        ("nightly.json", '"acme"', "groups/nightly.json:1:1  $  must be a list of flow ids, or an object with flows"),
        ("nightly.json", "{}", "groups/nightly.json:1:1  $  must be a list of flow ids"),
        ("nightly.json", '{"flows": "acme"}', "groups/nightly.json:1:11  $.flows  must be a list of flow ids"),
        ("nightly.json", '["acme",\n 7]', "groups/nightly.json:2:2  $[1]  must be a flow id, or a pattern like acme_*"),
        ("nightly.yaml", "flows: []", "groups/nightly.yaml:1:8  $.flows  names no flow"),
        (
            "nightly.yaml",
            "flwos: [acme]",
            'groups/nightly.yaml:1:1  $.flwos  unknown key "flwos"; did you mean "flows"?',
        ),
        ("weekly.yaml", "- acme", "did you mean 'weekly'? (there are weekly)"),
        ("other.txt", "", "there is no folder groups/ with such files"),
    ],
)
def test_what_is_wrong_with_a_group_has_a_position(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadGroup) as told:
        read(tmp_path, "weeky" if name == "weekly.yaml" else "nightly")
    assert message in str(told.value)


@pytest.mark.parametrize("name", ["../nightly", "a/b", "", ".hidden", "a\nb"])
def test_a_group_is_named_plainly(tmp_path, name):
    with pytest.raises(BadGroup, match="is not the name of a group"):
        read(tmp_path, name)


def test_the_first_folder_counts_and_two_files_of_a_name_are_refused(tmp_path):
    for place, text in (("one", "- acme"), ("two", "- globex")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "nightly.yaml").write_text(text)
    folders = [tmp_path / "none", tmp_path / "two", tmp_path / "one"]
    assert [member.flow_id for member in read_groups(["nightly"], folders).members] == ["globex"]
    (tmp_path / "two" / "nightly.json").write_text("[]")
    with pytest.raises(BadGroup, match="lies beside"):
        read_groups(["nightly"], folders)


def test_what_no_flow_has_is_told_with_the_nearest(tmp_path):
    (tmp_path / "nightly.yaml").write_text("- acme_inn\n- globex\n- in*\n- out*\n- '[x]'")
    groups = read(tmp_path)
    assert groups.missed(["acme_in", "globex", "initech", "[x]"]) == [
        'groups/nightly.yaml:1:3  $[0]  no flow is called "acme_inn"; did you mean "acme_in"?',
        'groups/nightly.yaml:4:3  $[3]  no flow\'s id matches "out*"; known: [x], acme_in, globex, initech',
    ]
    assert groups.holds("globex")
    assert groups.holds("initech")
    assert groups.holds("[x]")
    assert not groups.holds("acme_in")
    assert Member("[x]", "").matches("x")


@pytest.fixture
def flows(suite):
    suite.add("flows/acme.json", flow("acme", tags=["daily"]))
    suite.add("flows/globex.json", flow("globex", tags=["daily"]))
    suite.add("flows/initech.json", flow("initech", enabled=False))
    suite.add("flows/typo.json", flow("typo", validatoin={}))
    suite.pytester.makepyfile(test_other="def test_other(): pass")
    return suite


def test_a_group_selects_its_flows_and_no_others(flows, workers):
    flows.add("groups/nightly.json", text='{"flows": ["acme", "ini*"]}')
    flows.add("flows/groups/broken.yaml", text="- typo\n- acme")
    deselected = {} if workers else {"deselected": 3}
    result = flows.run("flows", "test_other.py", "--fileflow-group", "nightly", "-rs", *workers)
    result.assert_outcomes(passed=2, skipped=1, **deselected)
    result.stdout.fnmatch_lines(["*initech is disabled*"])
    if not workers:
        result = flows.run("flows", "--fileflow-group", "broken", "-m", "daily")
        result.assert_outcomes(passed=1, failed=1, deselected=4)
        result.stdout.fnmatch_lines(["flows/typo.json:*validatoin*"])


def test_an_id_that_no_flow_has_ends_the_session_once(flows, workers):
    flows.add("groups/nightly.json", text='["acne"]')
    result = flows.run("flows", "--fileflow-group", "nightly", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    errors = result.stderr.str() + result.stdout.str()
    assert errors.count('groups/nightly.json:1:2  $[0]  no flow is called "acne"; did you mean "acme"?') == 1
    assert flows.records() == []
    if not workers:  # others may be in files that are not collected
        flows.run("flows/acme.json", "--fileflow-group", "nightly").assert_outcomes(deselected=2)


def test_a_flow_that_cannot_be_read_stays_in_every_group(flows):
    flows.add("groups/nightly.json", text='["acme", "lost"]')
    flows.add("flows/lost_file.json", text="{")
    result = flows.run("flows", "--fileflow-group", "nightly")
    result.assert_outcomes(passed=1, failed=1, deselected=5)
    result.stdout.fnmatch_lines(["*lost_file*config*"])


def test_an_unknown_group_is_a_usage_error(flows, workers):
    flows.add("groups/nightly.json", text='["acme"]')
    result = flows.run("flows", "--fileflow-group", "nigthly", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*there is no groups/nigthly.json*did you mean 'nightly'? (there are nightly)*"])
