"""The agents: streams under stalls, the AXI memory and the trace monitor, each against a small component."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from hw.cycles.memory import MemoryTiming, format_bandwidth, parse_bandwidth
from hw.emit import to_verilog
from sim import agents
from sim.agents.lanes import pack, unpack
from sim.agents.stall import STALL_MATRIX, STALLS, stall_pattern
from sim.agents.system import memory_plusargs, module_ports, system_sources
from sim.agents.trace import read_trace, unpack_lanes
from sim.benches.agents.axi_probe import AxiProbe
from sim.benches.agents.register_file import RegisterFile
from sim.benches.agents.stream_adder import StreamAdder
from sim.build import BuildOptions
from sim.run import BenchFailure, run_bench, run_component

OKAY, SLVERR = 0, 2


# --- lanes and stalls ---


def test_lanes_round_trip_and_refuse_what_does_not_fit():
    values = [-128, 127, 0, -1, 5]
    assert unpack(pack(values, 8), 8, 5) == values
    assert unpack(pack([255, 1], 8), 8, 2, signed=False) == [255, 1]
    assert unpack(pack([-5, 3], 18), 18, 2) == [-5, 3]
    with pytest.raises(ValueError, match="lane 1: 256 does not fit 8 bits"):
        pack([0, 256], 8)
    with pytest.raises(ValueError, match="-129"):
        pack([-129], 8)


@pytest.mark.parametrize("width", [1, 5, 8, 16, 18, 26, 32, 40])
@pytest.mark.parametrize("signed", [True, False])
def test_unpack_lanes_agrees_with_integer_unpacking(width, signed):
    words = np.random.default_rng(width).integers(0, 1 << 32, (20, 7), dtype=np.uint32)
    count = 7 * 32 // width
    lanes = unpack_lanes(words, width, count, signed=signed)
    for row, got in zip(words, lanes, strict=True):
        whole = int.from_bytes(row.astype("<u4").tobytes(), "little")
        assert got.tolist() == unpack(whole, width, count, signed=signed)


def test_unpack_lanes_refuses_what_is_not_there():
    words = np.zeros((1, 2), np.uint32)
    with pytest.raises(ValueError, match="5 lanes of 16 bits"):
        unpack_lanes(words, 16, 5)
    with pytest.raises(ValueError, match="64"):
        unpack_lanes(words, 64, 1)


def test_stall_patterns_repeat_and_cover_both():
    for kind in STALLS:
        one, two = stall_pattern(kind, 4), stall_pattern(kind, 4)
        first = [next(one) for _ in range(500)]
        assert first == [next(two) for _ in range(500)]
        assert set(first) == ({True} if kind == "none" else {True, False})
    assert len(STALL_MATRIX) == 16
    with pytest.raises(ValueError, match="sometimes"):
        stall_pattern("sometimes")


# --- streams ---


def test_stream_agents_under_every_stall():
    count = 300
    result = run_component(
        StreamAdder(),
        "adder",
        "sim.benches.agents.stream_bench",
        test_args={"count": count, "pairs": STALL_MATRIX},
    )
    assert len(result.metrics) == len(STALL_MATRIX)
    for source, sink in STALL_MATRIX:
        cycles = result.metrics[f"{source}_{sink}"]
        if source == sink == "none":
            assert cycles <= count + 4  # a payload per cycle: the agents themselves do not stall
        else:
            assert cycles > 1.5 * count or {source, sink} == {"none", "bursty"}


@pytest.mark.parametrize(
    ("broken", "message"), [("drops", "valid fell before payload"), ("changes", "changed while refused")]
)
def test_stream_sink_sees_a_broken_protocol(broken, message):
    with pytest.raises(BenchFailure, match=message):
        run_component(
            StreamAdder(broken),
            "adder",
            "sim.benches.agents.stream_bench",
            test_args={"count": 100, "pairs": [("none", "random")]},
            waves_on_failure=False,
        )


def test_stream_sink_gives_up_at_its_limit():
    with pytest.raises(BenchFailure, match="of 300 payloads after 200 cycles"):
        run_component(
            StreamAdder(),
            "adder",
            "sim.benches.agents.stream_bench",
            test_args={"count": 300, "pairs": [("none", "none")], "limit": 200},
            waves_on_failure=False,
        )


# --- AXI memory and trace monitor ---


def _run_probe(
    tmp_path,
    width,
    commands,
    *,
    image=None,
    strict=True,
    memory_bytes=1 << 16,
    latency=8,
    bandwidth=None,
    **args,
):
    """Runs AxiProbe over ``commands`` (address, beats); returns the result, the trace and the image."""
    if image is None:
        image = np.random.default_rng(width).integers(0, 256, memory_bytes, dtype=np.uint8)
    (tmp_path / "image.bin").write_bytes(image.tobytes())
    text = to_verilog(AxiProbe(width), "probe")
    size = (width // 8).bit_length() - 1
    full = [c if len(c) > 2 else (c[0], c[1] - 1, size) for c in commands]
    result = run_bench(
        sources=system_sources(text, "probe", memory_bytes=memory_bytes),
        top="system",
        test_module="sim.benches.agents.axi_bench",
        test_args={"commands": full, **args},
        plusargs=[
            f"+axi_image={tmp_path / 'image.bin'}",
            f"+trace_file={tmp_path / 'trace.bin'}",
            *memory_plusargs(MemoryTiming(latency, bandwidth)),
            f"+axi_strict={int(strict)}",
        ],
        run_dir=tmp_path,
        waves_on_failure=False,
        timeout_s=60,
    )
    return result, read_trace(tmp_path / "trace.bin"), image


def _expected(image, width, commands):
    return np.concatenate([image[a : a + n * width // 8] for a, n in commands]).reshape(-1, width // 8)


# Address and beats; no burst of up to 32 bytes a beat leaves its 4 KB.
COMMANDS = [
    (0, 1),
    (4096 - 64, 2),
    (8192, 16),
    (64, 1),
    (128, 3),
    (12288, 64),
    (256, 8),
    (16384, 16),
    (65536 - 32, 1),
]
WIDE_COMMANDS = [(0, 1), (4096 - 128, 1), (8192, 32), (16384 + 128, 8), (65536 - 128, 1)]


@pytest.mark.parametrize(
    ("width", "stall"),
    [
        (32, 0),
        (32, 2),
        (64, 0),
        (64, 1),
        (64, 2),
        (64, 3),
        (128, 0),
        (128, 3),
        (256, 1),
        (1024, 0),
        (1024, 1),
    ],
)
def test_memory_answers_every_width_and_stall(tmp_path, width, stall):
    commands = COMMANDS if width <= 256 else WIDE_COMMANDS
    result, trace, image = _run_probe(tmp_path, width, commands, stall=stall)
    expected = _expected(image, width, commands)
    assert trace.data_bits == width
    np.testing.assert_array_equal(trace.lanes(8, signed=False), expected)
    assert set(trace.tag) == {OKAY}
    assert set(trace.sentence) == {5}
    np.testing.assert_array_equal(trace.index, np.arange(len(expected)))
    assert result.metrics == {
        "bursts": len(commands),
        "beats": len(expected),
        "records": len(expected),
        "protocol_error": 0,
    }
    gaps = np.diff(trace.cycle.astype(np.int64))
    assert gaps.min() == (2 if stall == 3 else 1)
    if stall:
        assert gaps.max() > 1


def test_bursts_stream_back_to_back(tmp_path):
    commands = [(1024 * n, 16) for n in range(32)] + [(0, 256), (2048, 256)]
    _, trace, image = _run_probe(tmp_path, 64, commands, latency=12)
    np.testing.assert_array_equal(trace.lanes(8, signed=False), _expected(image, 64, commands))
    assert int(trace.cycle[-1] - trace.cycle[0]) == len(trace) - 1


@pytest.mark.parametrize("latency", [1, 5, 40])
def test_latency_is_what_the_parameter_says(tmp_path, latency):
    _, one, _ = _run_probe(tmp_path, 64, [(0, 4)], latency=latency)
    _, base, _ = _run_probe(tmp_path, 64, [(0, 4)], latency=2)
    assert int(one.cycle[0]) - int(base.cycle[0]) == latency - 2


@pytest.mark.parametrize("text", ["0.5", "2", "4.3", "7/3", "8", "100", "unlimited"])
def test_bandwidth_is_exact_to_the_cycle(tmp_path, text):
    bandwidth = parse_bandwidth(text)
    _, trace, image = _run_probe(tmp_path, 64, [(0, 40), (1024, 24), (512, 1)], bandwidth=bandwidth)
    np.testing.assert_array_equal(
        trace.lanes(8, signed=False), _expected(image, 64, [(0, 40), (1024, 24), (512, 1)])
    )
    per_beat = 1 if bandwidth is None else max(1, 8 / bandwidth)
    cycles = trace.cycle.astype(np.int64) - int(trace.cycle[0])
    assert cycles.tolist() == [math.floor(n * per_beat) for n in range(65)]


def test_a_pause_saves_one_beat_and_no_more(tmp_path):
    # The latency of 200 clocks is the pause before the first beat: long enough for many, were they saved.
    bandwidth = Fraction(2)
    _, slow, _ = _run_probe(tmp_path, 64, [(0, 4)], latency=200, bandwidth=bandwidth)
    _, free, _ = _run_probe(tmp_path, 64, [(0, 4)], latency=200)
    assert int(slow.cycle[0]) == int(free.cycle[0])
    assert np.diff(slow.cycle.astype(np.int64)).tolist() == [4, 4, 4]


def test_bandwidths_are_read_and_refused():
    assert parse_bandwidth("4.3") == Fraction(43, 10)
    assert parse_bandwidth(" Unlimited ") is None
    for value in (None, Fraction(1, 2), Fraction(43, 10), Fraction(1, 3), Fraction(1024)):
        assert parse_bandwidth(format_bandwidth(value)) == value
    for text in ("", "fast", "-1", "nan", "inf", "1e3", "1/0", "0x10", "1 2"):
        with pytest.raises(ValueError, match=r"bandwidth .* bytes a cycle"):
            parse_bandwidth(text)
    with pytest.raises(ValueError, match=r"bandwidth 0 is outside 0 \(exclusive\) to 1024"):
        parse_bandwidth("0.0")
    with pytest.raises(ValueError, match="1025"):
        parse_bandwidth("1025")
    with pytest.raises(ValueError, match="denominator above 1000000"):
        parse_bandwidth("0.12345678")
    with pytest.raises(ValueError, match=r"latency 0 is outside 1\.\.1048576"):
        MemoryTiming(latency=0)


def test_pokes_change_single_words(tmp_path):
    pokes = [[4, 0x11223344], [0x100, 0xAABBCCDD], [0x10C, 0x01020304]]
    _, trace, image = _run_probe(tmp_path, 128, [(0, 2), (256, 1)], pokes=pokes)
    changed = image.copy()
    for address, value in pokes:
        changed[address : address + 4] = np.frombuffer(np.uint32(value).astype("<u4").tobytes(), np.uint8)
    np.testing.assert_array_equal(trace.lanes(8, signed=False), _expected(changed, 128, [(0, 2), (256, 1)]))


def test_error_window_and_end_of_memory_answer_slverr(tmp_path):
    commands = [(0, 8), (65536 - 16, 4), (512, 4)]
    inputs = {"error_base": 16, "error_size": 24}
    _, trace, _ = _run_probe(tmp_path, 64, commands, strict=False, inputs=inputs)
    expected = [*(0, 0, 2, 2, 2, 0, 0, 0), *(0, 0, 2, 2), *(0, 0, 0, 0)]
    assert trace.tag.tolist() == expected


def test_hang_answers_nothing_until_it_ends(tmp_path):
    _, trace, image = _run_probe(tmp_path, 64, [(0, 8), (512, 4)], inputs={"hang": 1}, hang=True)
    np.testing.assert_array_equal(trace.lanes(8, signed=False), _expected(image, 64, [(0, 8), (512, 4)]))
    assert int(trace.cycle[0]) > 5000


@pytest.mark.parametrize(
    ("command", "bit"),
    [
        ((4096 - 8, 1, 3), 0),  # two beats over a 4 KB boundary
        ((0, 1, 2), 1),  # narrow
        ((0, 1, 3, 0), 2),  # FIXED
        ((4, 0, 3), 3),  # not aligned
    ],
)
def test_broken_axi_rules_are_reported(tmp_path, command, bit):
    result, _, _ = _run_probe(tmp_path, 64, [command], strict=False)
    assert result.metrics["protocol_error"] == 1 << bit
    with pytest.raises(BenchFailure, match="protocol violation"):
        _run_probe(tmp_path, 64, [command])


def test_image_and_latency_are_checked(tmp_path):
    with pytest.raises(BenchFailure, match="longer than SIZE_BYTES = 65536"):
        _run_probe(tmp_path, 64, [(0, 1)], image=np.zeros(65544, np.uint8))
    with pytest.raises(BenchFailure, match="no multiple"):
        _run_probe(tmp_path, 64, [(0, 1)], image=np.zeros(4, np.uint8))
    text = to_verilog(AxiProbe(64), "probe")
    with pytest.raises(BenchFailure, match="cannot open the image"):
        run_bench(
            sources=system_sources(text, "probe", memory_bytes=1 << 16),
            top="system",
            test_module="sim.benches.agents.axi_bench",
            test_args={"commands": []},
            plusargs=["+axi_image=nowhere.bin"],
            waves_on_failure=False,
        )
    for argument, message in (
        ("+axi_latency=0", "latency 0 is below 1"),
        ("+axi_bandwidth_bytes=0", "bandwidth of 0 bytes in 1 cycles"),
        ("+axi_bandwidth_cycles=0", "bandwidth of 8 bytes in 0 cycles"),
    ):
        with pytest.raises(BenchFailure, match=message):
            run_bench(
                sources=system_sources(text, "probe", memory_bytes=1 << 16),
                top="system",
                test_module="sim.benches.agents.axi_bench",
                test_args={"commands": []},
                plusargs=[argument],
                waves_on_failure=False,
            )


# --- system wrapper and trace reader ---


def test_ports_are_read_from_the_verilog():
    text = to_verilog(AxiProbe(128), "probe")
    ports = {p.name: (p.direction, p.width) for p in module_ports(text, "probe")}
    assert ports["m_axi__rdata"] == ("input", 128)
    assert ports["m_axi__araddr"] == ("output", 32)
    assert ports["clk"] == ("input", 1)
    assert len(ports) == 23
    with pytest.raises(ValueError, match="absent"):
        module_ports(text, "absent")
    with pytest.raises(ValueError, match="memory_bytes 100"):
        system_sources(text, "probe", memory_bytes=100)
    with pytest.raises(ValueError, match="'probe'"):
        system_sources(text, "probe", top="probe")


def test_trace_reader_refuses_other_files_and_drops_a_cut_record(tmp_path):
    path = tmp_path / "t.bin"
    path.write_bytes(b"something else, long enough")
    with pytest.raises(ValueError, match="ELTR"):
        read_trace(path)
    header = np.array([0x52544C45, 2, 40, 26], "<u4")
    record = np.array([7 << 26 | 9, 3, 2, 1, 0xFFFFFFFF, 0x80], "<u4")
    path.write_bytes(header.tobytes() + record.tobytes() + record.tobytes()[:-4])
    trace = read_trace(path)
    assert len(trace) == 1
    assert (trace.tag[0], trace.index[0], trace.sentence[0], trace.cycle[0]) == (7, 9, 3, (1 << 32) + 2)
    assert trace.lanes(40).tolist() == [[-(1 << 39) + (1 << 32) - 1]]
    assert len(trace.select(tag=7, sentence=3)) == 1
    assert len(trace.select(tag=6)) == 0
    path.write_bytes(np.array([0x52544C45, 1, 40, 6], "<u4").tobytes())
    with pytest.raises(ValueError, match="version 1, this reader knows 2"):
        read_trace(path)
    path.write_bytes(np.array([0x52544C45, 2, 40, 33], "<u4").tobytes())
    with pytest.raises(ValueError, match="33 bits"):
        read_trace(path)


def test_two_trace_groups_get_a_file_each(tmp_path):
    text = """module pair(clk, rst, trace_a__valid, trace_a__tag, trace_a__index, trace_a__data,
  trace_b__valid, trace_b__tag, trace_b__index, trace_b__data, count);
  input clk;
  input rst;
  output trace_a__valid;
  output [7:0] trace_a__tag;
  output [23:0] trace_a__index;
  output [15:0] trace_a__data;
  output trace_b__valid;
  output [7:0] trace_b__tag;
  output [23:0] trace_b__index;
  output [99:0] trace_b__data;
  output [31:0] count;
  reg [31:0] count;
  always @(posedge clk) count <= rst ? 0 : count + 1;
  assign trace_a__valid = !rst && count[0];
  assign trace_a__tag = 1;
  assign trace_a__index = count[23:0];
  assign trace_a__data = count[15:0];
  assign trace_b__valid = !rst && count[1:0] == 3;
  assign trace_b__tag = 2;
  assign trace_b__index = count[23:0];
  assign trace_b__data = {count, 32'hffffffff, count, 4'h5};
endmodule
"""
    run_bench(
        sources=system_sources(text, "pair"),
        top="system",
        test_module="sim.benches.agents.trace_bench",
        plusargs=[f"+trace_{name}_file={tmp_path / name}" for name in "ab"],
    )
    one, two = read_trace(tmp_path / "a"), read_trace(tmp_path / "b")
    count = np.arange(1, 1000, 2)
    np.testing.assert_array_equal(one.index[:500], count)
    np.testing.assert_array_equal(one.lanes(16)[:500, 0], count)
    np.testing.assert_array_equal(two.index[:250], count[1::2])
    whole = int.from_bytes(two.words[7].tobytes(), "little")
    assert whole == (31 << 68 | 0xFFFFFFFF << 36 | 31 << 4 | 5)
    assert two.data_bits == 100
    np.testing.assert_array_equal(one.cycle[1:500:2], two.cycle[:250])


# --- AXI against independent implementations ---


def test_axi_lite_master():
    run_component(RegisterFile(), "registers", "sim.benches.agents.axi_lite_bench")


def test_memory_serves_the_reference_master(tmp_path):
    image = np.random.default_rng(3).integers(0, 256, 1 << 16, dtype=np.uint8)
    image.tofile(tmp_path / "image.bin")
    run_bench(
        sources=[Path(agents.__file__).parent / "axi_memory.v"],
        top="axi_memory",
        test_module="sim.benches.agents.axi_reference_bench",
        test_args={"image": image},
        plusargs=[f"+axi_image={tmp_path / 'image.bin'}"],
        build_options=BuildOptions(parameters={"SIZE_BYTES": 1 << 16}),
    )
