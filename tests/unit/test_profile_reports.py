"""What shows and judges a report in words: table, Markdown, budget, comparison and advice."""

from __future__ import annotations

import math
import random
import re
import shlex
from itertools import chain
from pathlib import Path

import pytest
from mmg.board.profiling.advise import advise, format_advice
from mmg.board.profiling.budget import check_budget, explain
from mmg.board.profiling.changes import format_comparison
from mmg.board.profiling.compare import compare, percentile_interval
from mmg.board.profiling.markdown import code, format_markdown
from mmg.board.profiling.result import BudgetCheck, Case, Report, encode, read_report
from mmg.board.profiling.table import format_table, took
from mmg.errors import ConfigError
from msgspec.structs import replace
from profile_reports import (
    SUBSETS,
    conditions,
    distribution,
    invalid,
    made_case,
    made_cases,
    made_machine,
    made_report,
    times,
    unavailable,
)

VARIANTS = (("onnx", "fp32"), ("onnx", "int8"), ("litert", "fp32"), ("litert", "int8"))
FULL = {"decision_ms": 24.0, "cpu_percent": 3.0, "memory_mib": 100.0, "first_decision_s": 3.0}


def judged(case: Case, budget: dict[str, float]) -> Case:
    return replace(case, budget=check_budget(case, budget))


def flat(text: str) -> str:
    """Without the line ends that only the width makes."""
    return " ".join(text.split())


def full_report(budget: dict[str, float] | None = None) -> Report:
    """28 cases, of which two are invalid, one is warned of and eight are missing for two reasons."""
    cases = [judged(case, budget or {}) for case in made_cases(VARIANTS)]
    cases[3], cases[9] = invalid(cases[3]), invalid(cases[9], "the two halves differ by 31 %")
    cases[5] = replace(cases[5], warnings=("3 deadlines were missed",), misses=3)
    cases[20] = unavailable(cases[20], "the bundle has no such files")
    cases[21:] = map(unavailable, cases[21:])
    return made_report(cases, budget=budget)


# Budget


def test_each_limit_is_held_against_its_figure() -> None:
    case = made_case()
    checks = {check.key: check for check in check_budget(case, FULL)}
    assert case.memory is not None
    assert case.cold is not None
    assert checks["decision_ms"].value == case.stages["event_to_decision"].p95_ms
    assert checks["cpu_percent"].value == case.cpu_percent
    assert checks["memory_mib"].value == case.memory.peak_mib
    assert checks["first_decision_s"].value == case.cold.first_decision_s
    assert all(check.passed for check in checks.values())


def test_back_to_back_the_hop_is_held_against_the_decisions_budget() -> None:
    case = made_case(mode="backtoback")
    [check] = check_budget(case, {"decision_ms": 1.0})
    assert check.value == case.stages["hop"].p95_ms
    assert not check.passed


def test_a_limit_is_kept_by_exactly_its_value() -> None:
    case = made_case()
    assert case.memory is not None
    [check] = check_budget(case, {"memory_mib": case.memory.peak_mib})
    assert check.passed
    assert "is exactly the budget" in explain(check)


def test_only_a_measured_power_can_keep_the_budget_of_it() -> None:
    case = made_case()
    assert case.energy is not None
    [estimated] = check_budget(case, {"power_mw": 1e6})
    assert estimated.value is None
    assert not estimated.passed
    assert explain(estimated) == "power_mw was not measured, so it does not pass the budget of 1e+06"
    energy = replace(case.energy, measured=True, mean_w=0.25)
    [measured] = check_budget(replace(case, energy=energy), {"power_mw": 300.0})
    assert measured.value == 250.0
    assert measured.passed


def test_what_was_not_measured_does_not_pass() -> None:
    assert not any(check.passed for check in check_budget(unavailable(made_case()), FULL))


@pytest.mark.parametrize(
    ("key", "limit", "value", "said"),
    [
        ("memory_mib", 120, 142.3, "memory_mib 142.3 is 22.3 over the budget of 120 (19 %)"),
        ("memory_mib", 120, 98.1, "memory_mib 98.1 is 21.9 under the budget of 120 (18 %)"),
        ("decision_ms", 20, 20.004, "decision_ms 20.004 is 0.004 over the budget of 20 (0.02 %)"),
        ("cpu_percent", 0.5, 2, "cpu_percent 2.0 is 1.5 over the budget of 0.5 (300 %)"),
    ],
)
def test_a_check_says_by_how_much(key: str, limit: float, value: float, said: str) -> None:
    assert explain(BudgetCheck(key=key, limit=limit, value=value, passed=value <= limit)) == said


# Table


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_fits_the_terminal(width: int) -> None:
    for line in format_table(full_report(FULL), width=width).splitlines():
        assert len(line) <= width


def test_the_table_has_a_row_a_measured_case_below_its_variant() -> None:
    text = format_table(full_report())
    assert re.findall(r"^(\w+ \w+, 1 thread)$", text, re.MULTILINE) == [
        "onnx fp32, 1 thread",
        "onnx int8, 1 thread",
        "litert fp32, 1 thread",
    ]
    assert len(re.findall(r"^[\w+]+ +\d+\.\d+ .* [✓✗]", text, re.MULTILINE)) == 20


def test_the_table_gives_the_figures_of_the_mode() -> None:
    paced, backtoback = made_case(), made_case(mode="backtoback")
    assert f" {paced.stages['event_to_decision'].p50_ms:.1f} " in format_table(made_report([paced]))
    text = format_table(made_report([backtoback], mode="backtoback"))
    assert f" {backtoback.stages['hop'].p95_ms:.2f} " in text
    assert "p50, p95, max: hop, in processor time." in text


def test_the_table_says_why_a_case_is_invalid_missing_warned_of_or_over_the_budget() -> None:
    text = flat(format_table(full_report({"memory_mib": 105.0})))
    assert "imu+audio onnx fp32 1t: the clock was held down while it ran: too hot" in text
    assert "video onnx int8 1t: the two halves differ by 31 %" in text
    assert "audio+video onnx fp32 1t: 3 deadlines were missed" in text
    assert "memory_mib 107.0 is 2.0 over the budget of 105 (2 %)" in text
    assert "imu+audio+video litert fp32 1t: the bundle has no such files" in text
    assert text.count("ai-edge-litert is not installed") == 1
    assert "7 cases (litert int8, 1 thread): ai-edge-litert" in text


def test_the_table_says_that_every_case_keeps_the_budget() -> None:
    cases = [judged(case, {"memory_mib": 500.0}) for case in made_cases()]
    text = format_table(made_report(cases, budget={"memory_mib": 500.0}))
    assert "every measured case keeps the budget: memory_mib 500" in text


def test_colours_are_only_where_they_are_asked_for() -> None:
    plain, coloured = format_table(full_report(FULL)), format_table(full_report(FULL), colours=True)
    assert "\x1b[" not in plain
    assert re.sub(r"\x1b\[\d*m", "", coloured) == plain


def test_plain_ascii_is_all_that_is_needed() -> None:
    report = made_report([invalid(made_case(), "über 80 °C")])
    text = format_table(report, ascii=True)
    assert text.isascii()
    assert "\\xfcber 80 \\xb0C" in text


def test_a_name_does_nothing_to_the_terminal() -> None:
    report = made_report([invalid(made_case(), "bad\x1b[2J")], machine=made_machine("board\x1b]0;x\x07"))
    for text in (format_table(report), format_advice(advise(report, {})), format_comparison(compare([report], report))):
        assert "\x1b" not in text
        assert "\x07" not in text


def test_long_names_are_cut_to_fit() -> None:
    case = made_case(("imu", "a_modality_of_a_very_long_name", "another_one_of_a_long_name"))
    for line in format_table(made_report([case]), width=80).splitlines():
        assert len(line) <= 80


def test_an_energy_that_is_estimated_is_marked() -> None:
    assert "~ is an estimate" in flat(format_table(made_report([made_case()])))
    assert "~" not in format_table(made_report([replace(made_case(), energy=None)]))


def test_a_report_of_nothing_says_why() -> None:
    text = format_table(made_report([unavailable(made_case())]))
    assert "ai-edge-litert is not installed" in text
    assert "p50" not in text


@pytest.mark.parametrize(("seconds", "said"), [(20.2, "20 s"), (200, "3 min 20 s"), (3720, "1 h 02 min")])
def test_how_long_it_took_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert took(seconds) == said


# Markdown


def test_every_markdown_table_is_rectangular() -> None:
    text = format_markdown(full_report(FULL))
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert len(tables) == 3
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


def test_markdown_names_machine_bundle_conditions_and_what_to_doubt() -> None:
    text = format_markdown(full_report({"memory_mib": 105.0}))
    said = ("Made Board 5", "starter 0.3.0", "governor performance", "2388 to 2400 MHz", "48 to 56 °C", "**no**")
    assert all(words in text for words in (*said, "too hot", "- budget: memory\\_mib 105", "2.0 over the budget"))


def test_text_of_a_report_does_not_become_markdown() -> None:
    report = made_report(
        [invalid(made_case(("i|mu", "<b>")), "a\n# b <script> [c](d) &lt;")], machine=made_machine("*x*")
    )
    text = format_markdown(report)
    assert "i\\|mu+\\<b\\>" in text
    assert "a \\# b \\<script\\> \\[c\\](d) \\&lt;" in text
    assert "\\*x\\*" in text


def test_text_of_a_report_does_nothing_to_a_terminal_that_shows_the_markdown() -> None:
    report = replace(made_report(), command=("--bundle", "\x1b[2J"), machine=replace(made_machine(), cpu="\x1b[31mred"))
    assert format_markdown(report).replace("\n", "").isprintable()


@pytest.mark.parametrize("number", [b"1e300", b"-1e19"])
def test_a_number_that_nothing_measures_is_no_reports(number: bytes, tmp_path: Path) -> None:
    (tmp_path / "huge.json").write_bytes(encode(made_report()).replace(b'"load": 0.4', b'"load": ' + number))
    with pytest.raises(ConfigError, match=r"huge\.json: is not a report of mmg-profile --json: .* - at `\$\.cases"):
        read_report(str(tmp_path / "huge.json"))


def test_code_may_hold_backticks() -> None:
    assert code("a `b` ``c") == "``` a `b` ``c ```"


# Comparison


def test_a_report_is_the_same_as_itself() -> None:
    report = full_report()
    comparison = compare([report], report)
    assert not comparison.slower
    assert not comparison.faster
    assert not comparison.differences
    assert all(change.ratio == 1 for change in comparison.changes)


def test_two_runs_of_the_same_board_are_the_same_within_noise() -> None:
    for seed in range(1, 5):
        comparison = compare([made_report()], made_report(made_cases(seed=seed)))
        assert len(comparison.changes) == 14 * (4 + 2 * 7) + 2 * 24
        assert not [*comparison.slower, *comparison.faster]


def test_a_fifth_more_time_is_slower() -> None:
    comparison = compare([made_report()], made_report(made_cases(slower=1.2, seed=1)))
    hops = [change for change in comparison.changes if change.figure == "hop p50"]
    assert len(hops) == 14
    assert all(change in comparison.slower for change in hops)
    assert not comparison.faster
    assert not [change for change in comparison.slower if "memory" in change.figure]


def test_less_time_is_faster() -> None:
    comparison = compare([made_report()], made_report(made_cases(slower=0.8, seed=1)))
    assert "hop p50" in {change.figure for change in comparison.faster}
    assert not comparison.slower


def test_a_change_counts_only_from_each_of_several_old_runs() -> None:
    olds = [made_report(made_cases(slower=slower, seed=seed)) for seed, slower in enumerate((1.0, 1.2), 1)]
    between = made_report(made_cases(slower=1.2, seed=7))
    assert compare(olds[:1], between).slower
    comparison = compare(olds, between)
    assert not [*comparison.slower, *comparison.faster]
    assert "give more old runs" not in format_comparison(comparison)
    assert format_comparison(comparison).count("old: ") == 2
    slower = compare(olds, made_report(made_cases(slower=1.5, seed=8))).slower
    [hop] = [change for change in slower if (change.case, change.figure) == ("imu onnx fp32 1t", "hop p50")]
    assert 1.15 < hop.ratio < 1.35  # from the nearest of both
    assert "give more old runs" in " ".join(format_comparison(compare(olds[:1], between)).split())


def test_a_case_that_one_old_run_lacks_or_spoilt_is_held_against_the_others() -> None:
    whole, slower = made_report(), made_report(made_cases(slower=3.0, seed=3))
    short = replace(whole, cases=tuple(map(unavailable, whole.cases[:-1])) + whole.cases[-1:])
    spoilt = replace(whole, cases=tuple(map(invalid, whole.cases)))
    for olds in ([whole, short], [short, whole], [whole, spoilt], [spoilt, whole]):
        comparison = compare(olds, slower)
        assert (comparison.only_old, comparison.only_new, comparison.invalid) == ((), (), ())
        hops = {change.case for change in comparison.slower if change.figure == "hop p50"}
        assert hops == {case.name for case in whole.cases}
    assert compare([short], slower).only_new == tuple(case.name for case in whole.cases[:-1])
    assert len(compare([spoilt], slower).invalid) == len(whole.cases)


def test_old_runs_of_two_programs_are_told() -> None:
    one, other = made_report(), made_report(machine=made_machine(commit="ba9876543210"))
    assert any("not of the same program" in line for line in compare([one, other], one).differences)
    assert not compare([one, one], one).differences


def test_more_memory_is_worse() -> None:
    case = made_case()
    assert case.memory is not None
    grown = replace(case, memory=replace(case.memory, peak_mib=case.memory.peak_mib * 1.2))
    [change] = compare([made_report([case])], made_report([grown])).slower
    assert change.figure == "peak memory"
    assert math.isclose(change.ratio, 1.2)


def test_an_invalid_case_is_shown_and_never_called_a_change() -> None:
    comparison = compare([made_report([made_case()])], made_report([invalid(made_case(slower=3))]))
    assert {change.verdict for change in comparison.changes} == {"unreliable"}
    assert comparison.invalid == ("imu+audio onnx fp32 1t",)
    text = format_comparison(comparison)
    assert "never called a change" in text
    assert "nothing can be compared" in text


def test_a_change_within_what_drifted_in_a_run_is_noise() -> None:
    old, new = made_case(), made_case(slower=1.2)
    assert compare([made_report([old])], made_report([new])).slower
    drifting = replace(new, halves_differ=0.25)
    assert not compare([made_report([old])], made_report([drifting])).slower


def test_a_change_that_matters_to_nobody_is_noise() -> None:
    old, new = ({"sink": times(middle, n=5000)} for middle in (0.010, 0.030))
    comparison = compare(
        [made_report([replace(made_case(), stages=old)])], made_report([replace(made_case(), stages=new)])
    )
    assert not comparison.slower


def test_few_samples_prove_nothing() -> None:
    stages = [{"hop": times(middle, spread=0.3, n=5)} for middle in (5.0, 6.5)]
    old, new = (made_report([replace(made_case(), stages=stage)]) for stage in stages)
    assert not compare([old], new).slower


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_interval_of_a_percentile_holds_the_true_one_as_often_as_it_says(level: float) -> None:
    chance = random.Random(7)
    true_ms = math.exp({0.5: 0.0, 0.95: 0.3 * 1.6449}[level])
    held = 0
    for _ in range(400):
        low, high = percentile_interval(distribution([chance.lognormvariate(0, 0.3) for _ in range(240)]), level)
        held += low <= true_ms <= high
    assert held >= 0.975 * 400


def test_of_too_few_samples_no_end_of_a_percentile_is_known() -> None:
    assert percentile_interval(distribution([3.0]), 0.5) == (-math.inf, math.inf)
    assert all(map(math.isfinite, percentile_interval(distribution([float(place) for place in range(8)]), 0.5)))
    assert percentile_interval(distribution([float(place) for place in range(103)]), 0.95)[1] == math.inf
    assert percentile_interval(distribution([float(place) for place in range(104)]), 0.95)[1] == 103.0


def test_what_differs_besides_the_code_is_told_first() -> None:
    old = made_report([made_case()])
    new = made_report(
        [replace(made_case(), before=conditions(governor="powersave"))],
        machine=made_machine("Another Board", numpy="2.2.0", commit="fedcba"),
    )
    new = replace(new, profile="mine.toml", bundle=replace(new.bundle, manifest_sha256="cd" * 32))
    comparison = compare([old], new)
    assert comparison.differences == (
        "not the same machine: Made Board 5, now Another Board",
        "not the same governor: performance, now powersave",
        "not the same bundle's content: abababababab, now cdcdcdcdcdcd",
        "not the same profile: raspberry-pi-5, now mine.toml",
        "not the same version of numpy: 2.1.0, now 2.2.0",
    )
    text = format_comparison(comparison)
    assert text.index("does not compare the code alone") < text.index("onnx fp32, 1 thread")


def test_another_mode_is_told() -> None:
    comparison = compare([made_report([made_case()])], made_report([made_case(mode="backtoback")], mode="backtoback"))
    assert "not the same mode: paced, now backtoback" in comparison.differences
    assert {change.figure for change in comparison.changes if "event" in change.figure} == set()


def test_another_setting_is_told_before_the_changes() -> None:
    plain, other = (
        made_report([made_case()]),
        ("--set", "unknown=0", "--json", "--set=grace_s=0.1", "--set", "budget.memory_mib=8"),
    )
    comparison = compare([plain], replace(plain, command=other))
    assert comparison.differences == ("not the same settings: none, now grace_s=0.1, unknown=0",)
    assert not compare([plain], replace(plain, command=("--set", "budget.memory_mib=80"))).differences


def test_cases_of_one_report_alone_are_named() -> None:
    comparison = compare(
        [made_report([made_case(), made_case(("imu",))])],
        made_report([made_case(), unavailable(made_case(("imu",))), made_case(threads=2)]),
    )
    assert comparison.only_old == ("imu onnx fp32 1t",)
    assert comparison.only_new == ("imu+audio onnx fp32 2t",)
    assert "measured only in the new report" in format_comparison(comparison)


def test_reports_that_share_no_case_are_compared_without_a_table() -> None:
    comparison = compare([made_report([made_case()])], made_report([made_case(threads=2)]))
    assert "nothing can be compared" in format_comparison(comparison)


@pytest.mark.parametrize("width", [80, 100])
def test_a_comparison_fits_the_terminal(width: int) -> None:
    text = format_comparison(compare([made_report()], made_report(made_cases(slower=1.3))), width=width, ascii=True)
    assert text.isascii()
    assert all(len(line) <= width for line in text.splitlines())
    assert "worse beyond noise" in text


# Advice


def test_the_most_accurate_case_under_the_budget_is_chosen() -> None:
    advice = advise(full_report(), {"decision_ms": 15.0})
    assert advice.choice is not None
    assert advice.choice.name == "imu+audio onnx int8 1t"
    assert all(case.accuracy is not None and case.accuracy <= 0.933 for case in advice.runners_up)


def test_of_cases_that_are_as_accurate_the_cheapest_is_chosen() -> None:
    cheap, dear = made_case(precision="int8"), made_case(precision="fp32")
    assert dear.accuracy is not None
    assert cheap.accuracy is not None
    assert dear.accuracy > cheap.accuracy
    assert advise(made_report([dear, cheap]), {}).choice == cheap
    better = replace(dear, accuracy=cheap.accuracy + 0.006)
    assert advise(made_report([better, cheap]), {}).choice == better


def test_the_time_of_all_threads_counts_and_not_the_engines_alone() -> None:
    one, two = replace(made_case(), cpu_percent=2.0), replace(made_case(threads=2), cpu_percent=3.5)
    quicker = replace(two, stages=one.stages | {"hop": times(2.0)})
    assert one.stages["hop"].p50_ms > 2 * quicker.stages["hop"].p50_ms
    advice = advise(made_report([quicker, one]), {})
    assert advice.choice == one
    assert "ms of processor time, 2.0 % of a core" in flat(format_advice(advice))
    unpaced = [replace(case, cpu_percent=None) for case in (quicker, one)]
    assert "that of the engine's alone" in flat(format_advice(advise(made_report(unpaced, mode="backtoback"), {})))


def test_of_cases_that_cost_the_same_time_the_smaller_is_chosen() -> None:
    case = made_case()
    assert case.memory is not None
    small = replace(case, threads=2, memory=replace(case.memory, peak_mib=50.0))
    assert advise(made_report([case, small]), {}).choice == small


def test_without_accuracies_the_most_modalities_are_chosen_and_it_is_said() -> None:
    cases = [replace(case, accuracy=None) for case in made_cases()]
    advice = advise(made_report(cases), {})
    assert advice.choice is not None
    assert advice.choice.name == "imu+audio+video onnx int8 1t"
    assert "states no accuracy" in format_advice(advice)


def test_a_case_of_unknown_accuracy_goes_behind_those_that_are_known() -> None:
    known, unknown = made_case(("imu",)), replace(made_case(), accuracy=None)
    advice = advise(made_report([unknown, known]), {})
    assert advice.ranked == (known, unknown)
    assert any("not known" in note for note in advice.notes)


def test_what_is_invalid_missing_or_too_slow_is_never_chosen() -> None:
    slow = replace(made_case(("video",)), real_time_factor=1.4)
    advice = advise(made_report([invalid(made_case()), slow, unavailable(made_case(("imu",)))]), {})
    assert advice.choice is None
    said = " ".join(chain.from_iterable(one.why for one in advice.rejected))
    assert "too hot" in said
    assert "a hop takes 1.40 times as long as it lasts" in said
    assert "ai-edge-litert" in advice.missing[0]


def test_each_case_that_fell_out_says_why() -> None:
    report = full_report()
    advice = advise(report, {"decision_ms": 15.0, "memory_mib": 100.0})
    measured = [case for case in report.cases if case.outcome == "measured"]
    assert len(advice.ranked) + len(advice.rejected) == len(measured)
    assert all(one.why for one in advice.rejected)
    assert all(
        not check.passed for one in advice.rejected[:1] for check in check_budget(one.case, {"decision_ms": 15.0})
    )


def test_where_nothing_fits_the_nearest_is_named() -> None:
    advice = advise(full_report(), {"decision_ms": 2.0})
    assert advice.choice is None
    assert advice.command is None
    assert advice.nearest is not None
    assert advice.nearest.case.name == "imu onnx int8 1t"
    assert "No case keeps the budget. The nearest is imu onnx int8 1t: decision_ms" in format_advice(advice)


def test_a_limit_that_this_board_cannot_measure_is_named() -> None:
    advice = advise(full_report(), {"power_mw": 500.0})
    assert advice.choice is None
    assert advice.nearest is None
    text = format_advice(advice)
    assert "can be shown to keep the budget" in text
    assert "power_mw was measured in no case" in text


def test_nothing_measured_is_nothing_to_choose_from() -> None:
    assert "Nothing to choose from" in format_advice(advise(made_report([unavailable(made_case())]), {}))


def test_the_command_can_be_copied() -> None:
    report = made_report([made_case()])
    report = replace(report, bundle=replace(report.bundle, path="/data/my models/a.mmg"))
    advice = advise(report, {"memory_mib": 100.0})
    assert advice.command is not None
    words = ["mmg-run", "--bundle", "/data/my models/a.mmg", "--sensors", "imu,audio", "--backend", "onnx"]
    assert shlex.split(advice.command) == [*words, "--precision", "fp32", "--set", "threads=1"]
    assert f"    {advice.command}\n" in format_advice(advice, width=40)


def test_video_is_allowed_in_words_and_its_owner_is_asked() -> None:
    advice = advise(made_report([made_case(("imu", "video"))]), {})
    assert advice.command is not None
    assert advice.command.endswith("--allow-video")
    assert "--allow-video is for" in format_advice(advice)
    assert "--allow-video" not in format_advice(advise(made_report([made_case()]), {}))


def test_a_camera_that_the_profile_forbids_is_never_advised() -> None:
    report = made_report([made_case(("imu", "video")), made_case(("imu",))])
    advice = advise(report, {}, may_film=False, flags=["--profile", "my watch.toml"])
    assert [case.modalities for case in advice.ranked] == [("imu",)]
    assert advice.command is not None
    assert "--bundle starter --profile 'my watch.toml' --sensors imu " in advice.command
    assert "imu+video" in format_advice(advice)
    assert "privacy.video is never" in format_advice(advice)


def test_a_camera_is_known_by_its_kind_whatever_its_name() -> None:
    report = made_report([made_case(("imu", "glasses")), made_case(("imu",))])
    report = replace(report, bundle=replace(report.bundle, video=("glasses",)))
    assert [case.modalities for case in advise(report, {}, may_film=False).ranked] == [("imu",)]
    [filming] = [case for case in report.cases if "glasses" in case.modalities]
    advice = advise(replace(report, cases=(filming,)), {})
    assert advice.command is not None
    assert advice.command.endswith("--allow-video")


def test_where_all_that_fits_would_film_the_advice_says_so() -> None:
    advice = advise(made_report([made_case(("imu", "video"))]), {}, may_film=False)
    assert advice.choice is None
    assert "No case without video was measured and valid" in format_advice(advice)


def test_advice_from_a_run_back_to_back_says_what_was_held_against_the_budget() -> None:
    report = made_report([made_case(mode="backtoback")], mode="backtoback")
    assert "Run back to back" in format_advice(advise(report, {"decision_ms": 100.0}))


# The made reports themselves


def test_a_made_report_is_one_that_can_be_written_and_read(tmp_path: Path) -> None:
    report = full_report(FULL)
    path = tmp_path / "report.json"
    path.write_bytes(encode(report))
    assert read_report(str(path)) == report
    assert len(SUBSETS) == 7
