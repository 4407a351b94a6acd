import gzip
import json

import pytest

from benchmarks.records import RecordsError, RunWriter, read_run

HEADER = {"benchmark": "humaneval", "model": "m", "digest": "d", "seed": 0, "methods": {"smc N=4": {}}}


# mtime: the same bytes whenever they are packed, since they name the tests.
PACKED = gzip.compress(json.dumps({"kind": "run"} | HEADER).encode() + b"\n", mtime=0)


def record(problem, method="smc N=4", repeat=0):
    return {"method": method, "problem": problem, "repeat": repeat, "passed": True}


def test_what_was_added_is_on_disk_and_known_when_the_file_is_continued(tmp_path):
    path = tmp_path / "new" / "run.jsonl"
    with RunWriter(path, HEADER) as writer:
        writer.add(record("a"))
        assert len(path.read_text().splitlines()) == 2
    with RunWriter(path, HEADER, resume=True) as writer:
        assert writer.done == {("smc N=4", "a", 0)}
        writer.add(record("b"))
    assert [each["problem"] for each in read_run(path).records] == ["a", "b"]


def test_a_line_that_was_cut_short_is_dropped(tmp_path):
    path = tmp_path / "run.jsonl"
    with RunWriter(path, HEADER) as writer:
        writer.add(record("a"))
    with path.open("a") as file:
        file.write('{"kind":"result","method":"smc N=4","prob')
    assert len(read_run(path).records) == 1
    with RunWriter(path, HEADER, resume=True) as writer:
        writer.add(record("b"))
    assert [json.loads(line)["kind"] for line in path.read_text().splitlines()] == ["run", "result", "run", "result"]
    assert [each["problem"] for each in read_run(path).records] == ["a", "b"]


def test_a_file_is_not_overwritten(tmp_path):
    path = tmp_path / "run.jsonl"
    RunWriter(path, HEADER).close()
    with pytest.raises(RecordsError, match="--resume"):
        RunWriter(path, HEADER)


def test_a_file_is_not_continued_with_other_settings_but_with_other_methods(tmp_path):
    path = tmp_path / "run.jsonl"
    RunWriter(path, HEADER).close()
    with pytest.raises(RecordsError, match="another seed"):
        RunWriter(path, HEADER | {"seed": 1}, resume=True)
    RunWriter(path, HEADER | {"methods": {"base N=1": {}}}, resume=True).close()
    assert read_run(path).methods == ["smc N=4", "base N=1"]


def test_what_is_no_file_of_results_is_refused(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text('{"kind": "result"}\n')
    with pytest.raises(RecordsError, match="header"):
        read_run(path)


def test_a_file_that_was_compressed_is_read_under_both_names_and_continued(tmp_path):
    path = tmp_path / "run.jsonl"
    with RunWriter(path, HEADER) as writer:
        writer.add(record("a"))
    kept = tmp_path / "run.jsonl.gz"
    kept.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert [each["problem"] for each in read_run(kept).records] == ["a"]
    assert [each["problem"] for each in read_run(path).records] == ["a"]
    with pytest.raises(RecordsError, match="--resume"):
        RunWriter(path, HEADER)
    with RunWriter(path, HEADER, resume=True) as writer:
        assert writer.done == {("smc N=4", "a", 0)}
        writer.add(record("b"))
    assert [each["problem"] for each in read_run(path).records] == ["a", "b"]
    assert [each["problem"] for each in read_run(kept).records] == ["a"]


@pytest.mark.parametrize("content", [b"no gzip", PACKED[:-9], PACKED[:15]], ids=["no gzip", "no end", "no content"])
def test_a_compressed_file_that_is_damaged_is_refused_and_leaves_nothing(tmp_path, content):
    kept = tmp_path / "run.jsonl.gz"
    kept.write_bytes(content)
    with pytest.raises(RecordsError, match=r"run\.jsonl\.gz"):
        read_run(kept)
    with pytest.raises(RecordsError, match=r"run\.jsonl\.gz"):
        RunWriter(tmp_path / "run.jsonl", HEADER, resume=True)
    assert list(tmp_path.iterdir()) == [kept]


def test_results_are_not_written_into_a_compressed_file(tmp_path):
    with pytest.raises(RecordsError, match=r"give .*run\.jsonl$"):
        RunWriter(tmp_path / "run.jsonl.gz", HEADER)
