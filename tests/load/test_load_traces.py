import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import SpecError
from trivet.load.arrivals import NS
from trivet.load.traces import read_curve, read_trace

MS = 1_000_000
AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:15:51.2224670,879,55
"""
MOONCAKE = """{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}
{"timestamp": 0, "input_length": 7322, "output_length": 490, "hash_ids": [0]}

{"timestamp": 3052, "input_length": 7236, "output_length": 794, "hash_ids": [0]}
"""
# Published traces, where they lie beside the project: number of requests, and the last one's instant.
BESIDE = Path(__file__).parents[3] / "shared" / "data"
PUBLISHED = [
    (BESIDE / "azure-llm-traces" / "AzureLLMInferenceTrace_conv.csv", 19_366, 3_501_721_937_000),
    (BESIDE / "mooncake-traces" / "conversation_trace.jsonl.gz", 12_031, 3_536_999 * MS),
]
RATES = [(BESIDE / "nasa-http-rate" / "requests_per_minute.csv.gz", 84_332, 3_461_596)]


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("azure.csv", AZURE, [0, 4_314_579_000, 4_541_877_000]),
        ("mooncake.jsonl", MOONCAKE, [0, 0, 3052 * MS]),
        ("mooncake.jsonl.gz", MOONCAKE, [0, 0, 3052 * MS]),
        ("ms.csv", "id,Arrival time (ms)\na,5\nb,7.5\n", [0, 2_500_000]),
        ("ns.csv", "at_ns\n5\n7\n", [0, 2]),
        ("us.ndjson", '{"arrival_time_us": 1}\n{"arrival_time_us": 4}\n', [0, 3000]),
        ("fractions.csv", "time,x\n0,1\n0.25,1\n", [0, NS // 4]),
        ("epoch.csv", "timestamp\n1700000000\n1700000001\n", [0, NS]),
        ("epoch-ms.csv", "timestamp\n1700000000000\n1700000000001\n", [0, MS]),
        (
            "zones.jsonl",
            '{"ts":"2024-01-01T00:00:00Z"}\n{"ts":"2024-01-01T01:00:00.5+01:00"}\n',
            [0, NS // 2],
        ),
        ("bare.csv", "0.5\n0.75\n", [0, NS // 4]),
        ("blank.csv", "time_s,x\n\n1,a\n\n2,b\n", [0, NS]),
        ("excel.csv", "\ufefftime_s\r\n1\r\n2\r\n", [0, NS]),
        ("one.csv", "time_s\n7\n", [0]),
        ("around.csv", "\ntime_s\n\n7\n8\n\n\n", [0, NS]),
    ],
)
def test_a_trace_is_read_by_what_its_names_and_values_say(
    tmp_path: Path, name: str, text: str, expected: list[int]
) -> None:
    assert read_trace(written(tmp_path, name, text)).tolist() == expected


def test_column_and_unit_can_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, "trace.csv", "time,when\n9,1\n9,3\n")
    assert read_trace(path, "when", "ms").tolist() == [0, 2 * MS]


@given(gaps=st.lists(st.integers(0, 10**15), max_size=20))
def test_every_nanosecond_survives(gaps: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    instants = np.cumsum([0, *gaps])
    lines = [f'{{"time": {instant // NS}.{instant % NS:09d}}}' for instant in instants.tolist()]
    path = written(tmp_path_factory.mktemp("trace"), "t.jsonl", "\n".join(lines))
    assert read_trace(path).tolist() == instants.tolist()


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("t.csv", "time_s\n1\n3\n2\n", r"t.csv:4: time 2 is before 3 of line 3; sort"),
        ("t.csv", "time_s\n-1\n", r"t.csv:2: time -1 is negative"),
        ("t.csv", "time_s,x\n1,a\n,b\n", r"t.csv:3: no value for 'time_s'"),
        ("t.csv", "x,time_s\na,1\nb\n", r"t.csv:3: no value for 'time_s'"),
        ("t.csv", "time_s\n1\n\n\n2\n", r"t.csv:3: no value for 'time_s'"),
        ("t.csv", "1\n\n2\n", r"t.csv:2: no value for '1'"),
        ("t.csv", "time_s\n1\nsoon\n", r"t.csv:3: time 'soon' is not a number"),
        ("t.csv", "time_s\nnan\n", r"t.csv:2: time nan is not a finite"),
        ("t.csv", "time_h\n1e18\n", r"t.csv:2: time 1e18 does not fit"),
        ("t.csv", "time_s\n1e999999\n", r"t.csv:2: time 1e999999 does not fit"),
        ("t.csv", "time_s\n", r"t.csv: no requests in it: the trace is empty"),
        ("t.csv", "", r"t.csv: no requests in it"),
        ("t.jsonl", "\n", r"t.jsonl: no requests in it"),
        ("t.csv", "a,b\n1,2\n", r"t.csv: no column looks like the time of a request among a, b; name it"),
        ("t.csv", "minute,requests\n0,2\n", r"counts for each interval are a rate curve"),
        ("t.csv", "1,2\n3,4\n", r"t.csv:1: the first line holds values \(1, 2\)"),
        ("t.csv", "time\n1\n2\n", r"column 'time' does not say whether its times \(1, ...\) are in s, ms"),
        ("t.csv", "ts\n2024-01-01\n2024-13-01\n", r"t.csv:3: time '2024-13-01' is not a date"),
        ("t.csv", "ts\n2024-01-01\nlater\n", r"t.csv:3: time 'later' is not an ISO 8601 date"),
        ("t.csv", "ts\n1924-01-01\n", r"t.csv:2: time 1924-01-01 is before 1970"),
        ("t.csv", 'time_s\n"1\n', r"no value|not a number|not CSV"),
        ("t.jsonl", '{"time_s": 1}\n{"time": 2}\n', r"t.jsonl:2: no value for 'time_s'"),
        ("t.jsonl", '{"time_s": 1}\n{"time_s": null}\n', r"t.jsonl:2: no value for 'time_s'"),
        ("t.jsonl", '{"time_s": true}\n', r"t.jsonl:1: time 'True' is not a number"),
        ("t.jsonl", '{"time_s": 1}\n{"time_s": 2\n', r"t.jsonl:2: not JSON"),
        ("t.jsonl", "[1]\n", r"t.jsonl:1: a JSON object is expected on each line, got \[1\]"),
    ],
)
def test_a_bad_trace_is_refused_with_file_line_and_value(
    tmp_path: Path, name: str, text: str, complaint: str
) -> None:
    with pytest.raises(SpecError, match=complaint):
        read_trace(written(tmp_path, name, text))


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none.csv: cannot be read: .*No such file"):
        read_trace(tmp_path / "none.csv")
    (tmp_path / "t.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(SpecError, match=r"t.csv.gz: cannot be read"):
        read_trace(tmp_path / "t.csv.gz")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(AZURE.encode())[:-9])
    with pytest.raises(SpecError, match=r"cut.csv.gz: cannot be read"):
        read_trace(tmp_path / "cut.csv.gz")
    (tmp_path / "t.csv").write_bytes(b"time_s\n\xff\xfe\n")
    with pytest.raises(SpecError, match=r"t.csv: not text in UTF-8"):
        read_trace(tmp_path / "t.csv")


def test_a_column_or_unit_that_there_is_not_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", "time_s,x\n1,2\n")
    with pytest.raises(SpecError, match="no column 'when'; there are: time_s, x"):
        read_trace(path, "when")
    with pytest.raises(SpecError, match="unit 'weeks' is none of ns, us"):
        read_trace(path, unit="weeks")


def test_counts_for_each_interval_are_a_curve_with_these_counts(tmp_path: Path) -> None:
    curve = read_curve(written(tmp_path, "rates.csv", "minute,requests\n0,60\n1,120\n3,30\n"))
    assert curve.at_ns == (0, 60 * NS, 60 * NS, 180 * NS, 180 * NS, 300 * NS)
    assert curve.rates_rps == (1, 1, 1, 1, 0.25, 0.25)
    assert curve.mean_rps * 300 == 210


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("minute,requests\n0,1\n", "at least two lines, got 1"),
        ("minute,requests\n0,1\n0,2\n", "t.csv:3: the same time twice"),
        ("minute,requests\n1,1\n0,2\n", "t.csv:3: time 0 is before 1 of line 2"),
        ("minute,requests\n0,1\n1,-2\n", "t.csv:3: count -2 is not a number from 0 on"),
        ("minute,requests\n0,1\n1,many\n", "t.csv:3: count 'many' is not a number"),
        ("time_s,x\n0,1\n1,2\n", "no column of counts"),
    ],
)
def test_a_bad_curve_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        read_curve(written(tmp_path, "t.csv", text))


@pytest.mark.parametrize(
    ("source", "num", "last_ns"),
    [(AZURE, 3, 4_541_877_000), *(known for known in PUBLISHED if known[0].exists())],
)
def test_published_traces_are_read(source: str | Path, num: int, last_ns: int, tmp_path: Path) -> None:
    path = source if isinstance(source, Path) else written(tmp_path, "head.csv", source)
    trace = read_trace(path)
    assert (len(trace), trace[-1]) == (num, last_ns)


@pytest.mark.parametrize(
    ("source", "minutes", "num"),
    [("minute,requests\n0,42\n1,62\n", 2, 104), *(known for known in RATES if known[0].exists())],
)
def test_published_rates_are_read(source: str | Path, minutes: int, num: int, tmp_path: Path) -> None:
    path = source if isinstance(source, Path) else written(tmp_path, "head.csv", source)
    curve = read_curve(path)
    assert curve.duration_ns == minutes * 60 * NS
    assert round(curve.mean_rps * curve.duration_ns / NS) == num
