"""Advice: never more than was measured, never less certain than it says, and a command that makes it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from suite import advice, charts, leaderboard, plan, registry
from suite.leaderboard import Board
from suite.options import Parser, add_cell_options, cells_of
from suite.records import Record

HOT = {"batch_size": 1, "threads": 1, "backend": "eager", "precision": "fp32", "cache": "hot"}
TASK, METHOD = "vgg16-cifar10", "structured"
LOOKS = charts.looks({METHOD: "structured pruning"})
Make = Callable[..., Record]


@pytest.fixture
def measured(make_record: Make) -> Callable[..., list[Record]]:
    """`measured(top1, speedup, low, ...)`: the records of one row per seed of `top1`, dense at 0.94."""

    def call(ratio: float, top1: float | tuple[float, ...], low: float, high: float, **changes: Any) -> list[Record]:
        task, method = changes.pop("task", TASK), changes.pop("method", METHOD)
        found = []
        for seed, each in enumerate(top1 if isinstance(top1, tuple) else (top1,)):
            name, dense = ("loss", 0.2) if task.startswith("auto") else ("top1", 0.94)
            own = {
                "task": task, "method": method, "seed": seed, "profile": "full", "machine": "box",
                "hyperparameters": registry.method(method).complete({"channel_ratio": ratio}),
                "freshness": plan.current_freshness(task, method), "data_sha256": "d" * 64,
            }  # fmt: skip
            sizes = {"size_bytes_compressed": 100 * ratio, "dense_size_bytes_compressed": 100}
            found.append(make_record(**own, metrics={name: each, f"dense_{name}": dense, **sizes}))
            speed = {"speedup": (low + high) / 2, "speedup_low": low, "speedup_high": high}
            found.append(make_record(**(own | {"kind": "latency", "metrics": speed, "conditions": HOT} | changes)))
        return found

    return call


def board_of(*rows: list[Record]) -> Board:
    return leaderboard.assemble([record for row in rows for record in row], {}).boards[0]


def told(board: Board, tolerance: float) -> advice.Step | None:
    return advice.best(advice.steps(board, board.setups[0]), tolerance)


def test_the_fastest_row_within_the_loss_is_advised(measured: Callable[..., list[Record]]) -> None:
    board = board_of(measured(0.8, 0.94, 1.4, 1.6), measured(0.5, 0.93, 2.8, 3.2), measured(0.25, 0.9, 5.0, 6.0))
    lost = {tolerance: step.lost for tolerance in (0.0, 0.005, 0.01, 0.02, 0.1) if (step := told(board, tolerance))}
    assert lost == pytest.approx({0.0: 0.0, 0.005: 0.0, 0.01: 0.01, 0.02: 0.01, 0.1: 0.04})


def test_a_wide_interval_does_not_win_by_its_middle(measured: Callable[..., list[Record]]) -> None:
    board = board_of(measured(0.5, 0.94, 2.8, 3.2), measured(0.25, 0.94, 1.5, 9.0))
    step = told(board, 0.01)
    assert step is not None and step.row.hyperparameters["channel_ratio"] == 0.5 and step.at_least == 2.8


def test_the_noise_floor_lessens_what_is_certain(measured: Callable[..., list[Record]], make_record: Make) -> None:
    floor = make_record(kind="noise-floor", task=TASK, method="dense", profile="full", machine="box", conditions=HOT,
                        metrics={"speedup": 1.0, "noise_floor": 0.25})  # fmt: skip
    board = board_of(measured(0.5, 0.94, 2.5, 3.2), measured(0.8, 0.94, 1.2, 1.3), [floor])
    found = advice.steps(board, board.setups[0])
    assert [step.at_least for step in found] == [2.0]  # 1.2 within 25 % of 1 is no speed-up


@pytest.mark.parametrize(
    "changes",
    [
        {"freshness": "of old"},
        {"notes": {"contended": True}},
        {"notes": {"simulated": True}},
        {"status": "error", "metrics": {}},
    ],
)
def test_what_may_not_be_compared_never_advises(measured: Callable[..., list[Record]], changes: dict[str, Any]) -> None:
    reason = {"reason": "it broke"} if "status" in changes else {}
    board = board_of(measured(0.5, 0.94, 2.8, 3.2), measured(0.25, 0.94, 5.0, 6.0, **changes, **reason))
    step = told(board, 0.05)
    assert step is not None and step.row.hyperparameters["channel_ratio"] == 0.5


def test_nothing_is_advised_where_nothing_does_it(measured: Callable[..., list[Record]]) -> None:
    board = board_of(measured(0.5, 0.9, 2.8, 3.2), measured(0.8, 0.94, 0.9, 1.1))
    assert told(board, 0.03) is None and told(board, 0.04) is not None
    (case,) = [advice.cases(board_of(measured(0.8, 0.94, 0.9, 1.1)), board.setups[0], LOOKS)]
    assert case.answers == ((advice.TOLERANCES[-1], None),)


def test_what_a_busy_machine_measured_is_what_is_to_be_measured_again(measured: Callable[..., list[Record]]) -> None:
    better = measured(0.5, 0.94, 2.8, 3.2)[:1]  # its accuracy alone
    wanted = advice.needs(board_of(better, measured(0.25, 0.93, 5.0, 6.0, notes={"contended": True})))
    assert "channel_ratio=0.25" in wanted and wanted.endswith("--force")


def test_a_loss_is_lost_by_its_share_of_dense(measured: Callable[..., list[Record]]) -> None:
    board = board_of(measured(0.5, 0.21, 2.8, 3.2, task="autoencoder-roadscenes"))  # 5 % worse: as one point
    (step,) = advice.steps(board, board.setups[0])
    assert step.lost == pytest.approx(0.01) and told(board, 0.01) is not None and told(board, 0.009) is None
    assert advice.lost_text(0.01, board) == "5 % of the loss"


def test_three_seeds_say_how_much_it_may_be_at_worst(measured: Callable[..., list[Record]]) -> None:
    (step,) = advice.steps(board := board_of(measured(0.5, (0.934, 0.932, 0.930), 2.8, 3.2)), board.setups[0])
    assert step.worst is not None and step.lost == pytest.approx(0.008) and step.worst > 0.0125
    assert advice.answer(step, board, LOOKS)["doubt"].startswith("may be as much as 1.")
    one = board_of(measured(0.5, 0.932, 2.8, 3.2))
    assert advice.answer(advice.steps(one, one.setups[0])[0], one, LOOKS)["doubt"] == "one seed: uncertain"


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("full", "one seed: uncertain"),
        ("quick", "far better than dense, which quick trains too briefly to be the measure"),
    ],
)
def test_a_gain_over_a_dense_network_that_was_hardly_trained_is_called_so(
    measured: Callable[..., list[Record]], profile: str, said: str
) -> None:
    board = board_of([msgspec.structs.replace(each, profile=profile) for each in measured(0.5, 0.96, 1.4, 1.6)])
    assert advice.answer(advice.steps(board, board.setups[0])[0], board, LOOKS)["doubt"] == said


def test_advice_says_how_far_its_time_is_to_be_trusted(measured: Callable[..., list[Record]]) -> None:
    def care(low: float, high: float, **metrics: Any) -> str:
        found = {"speedup": 2.0, "speedup_low": low, "speedup_high": high} | metrics
        board = board_of(measured(0.5, 0.94, 0, 0, metrics=found))
        return str(advice.answer(advice.steps(board, board.setups[0])[0], board, LOOKS)["care"])

    assert care(1.97, 2.03, pairs=60, converged=True) == ""
    assert care(1.9, 2.1, pairs=60, converged=True) == "not converged", "whatever a pilot promised"
    assert care(1.97, 2.03, pairs=6, converged=False) == "6 pairs, not converged"


def test_a_compiled_network_says_what_compiling_dense_would_leave_of_it(
    measured: Callable[..., list[Record]], make_record: Make
) -> None:
    eager = measured(0.5, 0.93, 1.4, 1.6)
    metrics = {"speedup": 3.6, "speedup_low": 3.5, "speedup_high": 3.7, "speedup_over_eager": 5.2,
               "speedup_over_eager_low": 5.0, "speedup_over_eager_high": 5.4}  # fmt: skip
    conditions = HOT | {"backend": "compile", "precision": "int8"}
    compiled = measured(0.8, 0.93, 0, 0, metrics=metrics, conditions=conditions)
    board = board_of(eager, compiled)
    step = told(board, 0.05)
    assert step is not None and advice.answer(step, board, LOOKS)["at_least"] == (
        "at least 5.00\u00d7; 3.60\u00d7 over compiled dense"
    )
    (slower,) = (each for row in board.rows if (each := advice.certain(row, board, board.setups[0])) and each != step)
    assert advice.answer(slower, board, LOOKS)["at_least"] == "at least 1.40\u00d7"


def test_the_setup_where_a_point_buys_most_comes_first(measured: Callable[..., list[Record]]) -> None:
    slow = [measured(ratio, 0.935, 1.1, 1.2, machine="a") for ratio in (0.5, 0.6, 0.7)]
    board = board_of(*slow, measured(0.5, 0.935, 4.0, 5.0, machine="b"), measured(0.6, 0.8, 9.0, 9.9, machine="c"))
    assert [setup.machine for setup in advice.setups([board])] == ["b", "a", "c"]


def test_variants_of_a_task_choose_a_machine_no_more_than_one_of_them(
    measured: Callable[..., list[Record]],
) -> None:
    kin = ("resnet18-cifar10", "resnet18-cifar10+report-lr0.01", "resnet18-cifar10+report-lr0.001")
    three = [board_of(measured(0.5, 0.935, 2.0, 2.2, task=task, machine="a")) for task in kin]
    one = board_of(measured(0.5, 0.935, 4.0, 5.0, machine="b"))
    assert [setup.machine for setup in advice.setups([*three, one])] == ["b", "a"]
    other = board_of(measured(0.5, 0.935, 2.1, 2.2, task="googlenet-cifar100", machine="a"))
    assert [setup.machine for setup in advice.setups([*three, one, other])] == ["a", "b"], "two kinds are twice as much"


def test_what_is_owed_of_a_board_is_the_benchmark_of_a_row_that_is_there(measured: Callable[..., list[Record]]) -> None:
    board = board_of(measured(0.5, 0.93, 1.1, 1.2)[:1], measured(0.34375, 0.94, 1.1, 1.2)[:1])
    assert advice.needs(board).startswith(f"python -m suite bench --task {TASK} --method {METHOD} --set")
    assert "channel_ratio=0.34375" in advice.needs(board) and "--force" not in advice.needs(board)
    stale = [msgspec.structs.replace(each, freshness="of old") for each in measured(0.5, 0.93, 1.1, 1.2)]
    assert advice.needs(board_of(stale)).startswith(f"nox -s bench-cpu -- --task {TASK} ")


def test_what_is_owed_is_never_the_benchmark_of_zeros(measured: Callable[..., list[Record]]) -> None:
    def of(method: str, top1: float, macs: int) -> list[Record]:
        (found,) = measured(0.5, top1, 1.1, 1.2)[:1]
        settings = registry.method(method).complete({})
        counted = {"macs": macs, "dense_macs": 100}
        return [msgspec.structs.replace(found, method=method, hyperparameters=settings,
                                        cell=plan.Cell(TASK, method, settings, 0, "full").key,
                                        freshness=plan.current_freshness(TASK, method),
                                        metrics=dict(found.metrics) | counted)]  # fmt: skip

    zeros, fewer, integers = of("global-unstructured", 0.94, 100), of(METHOD, 0.92, 50), of("quantize-static", 0.9, 100)
    assert f"--method {METHOD} " in advice.needs(board_of(zeros, fewer))
    assert "--method quantize-static " in advice.needs(board_of(zeros, integers))
    assert advice.unmeasured(board_of(zeros, fewer)).endswith("To measure it:")
    alone = board_of(zeros)
    assert "zeros alone make nothing faster" in advice.unmeasured(alone)
    assert (
        advice.needs(alone) == f"python -m suite bench --task {TASK} --method structured --points first --profile full"
    )


def test_what_was_timed_and_is_not_surely_faster_is_not_called_unmeasured(
    measured: Callable[..., list[Record]],
) -> None:
    board = board_of(measured(0.5, 0.94, 0.99, 1.05))
    assert advice.steps(board, board.setups[0]) == ()
    assert advice.unmeasured(board).startswith("Where a compressed network was timed, none is certainly 2 % faster")


def test_the_commands_name_the_very_cell(measured: Callable[..., list[Record]]) -> None:
    board = board_of(measured(0.34375, 0.93, 2.8, 3.2))
    (step,) = advice.steps(board, board.setups[0])
    run, export = advice.commands(step.row)
    parser = Parser()
    add_cell_options(parser, "run")
    for command in (run, export):
        *words, last = shlex.split(command.partition(" --format ")[0])
        assert words[:3] == ["python", "-m", "suite"]
        (cell,) = cells_of(parser.parse_args([*words[4:], last]))
        assert cell == plan.Cell(TASK, METHOD, step.row.hyperparameters, 0, "full")
    assert export.endswith(f" --format onnx --out {TASK}-{METHOD}.onnx")


def test_a_gain_too_small_to_matter_is_not_advised(measured: Callable[..., list[Record]]) -> None:
    assert told(board_of(measured(0.5, 0.94, 1.01, 1.05)), 0.01) is None
    assert told(board_of(measured(0.5, 0.94, 1.03, 1.05)), 0.01) is not None
