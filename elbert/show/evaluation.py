"""An evaluation as tables."""

from __future__ import annotations

from typing import Any

from elbert.tables import print_table
from golden_model.data.tasks import TASKS
from golden_model.exits import ExitMode


def print_evaluation(result: dict[str, Any], classes: str | None = None) -> None:
    """Shows a result of ``golden_model.evaluation.score``; of a task all metrics, the primary one marked.

    ``classes`` says in a line how the data's classes were found among the model's.
    """
    policy = result["policy"]
    used = ", ".join(f"{k} {v}" for k, v in policy.items() if k != "mode")
    name = policy["mode"] if policy["mode"] == ExitMode.none.name else f"{policy['mode']} ({used})"
    task = TASKS.get(result.get("task") or "")
    metrics = [
        (f"{metric} (primary)" if task and metric == task.metric else metric, f"{100 * result[metric]:.2f} %")
        for metric in (task.metrics if task else ("accuracy",))
    ]
    facts = [
        ("sentences", result["samples"]),
        *([] if classes is None else [("classes of the data = of the model", classes)]),
        ("policy", name),
        *metrics,
        ("mean exit iteration", f"{result['mean_exit_iteration']:.2f} of {result['iterations']}"),
        ("cost", f"{result['cost']:.4f}"),
        ("speedup (1/cost)", f"{result['speedup']:.2f}x"),
        *_multiply_adds(result["multiply_adds"]),
        ("mean confidence", f"{result['mean_confidence']:.4f}"),
    ]
    print_table(f"Evaluation, {result.get('backend', 'model')}", ["what", "value"], facts)
    per_iteration = result["accuracy_per_iteration"]
    rows = []
    for i, count in enumerate(result["exits"]):
        accuracy = None if per_iteration is None else round(100 * per_iteration[i], 2)
        rows.append((i + 1, count, accuracy))
    print_table("By iteration", ["iteration", "sentences leaving", "accuracy if all left here, %"], rows)


def _multiply_adds(counted: dict[str, int] | None) -> list[tuple[str, str]]:
    """Those until the exits, with the speedup over full depth; nothing where they are not counted."""
    if counted is None:
        return []
    full = counted["full_depth"]
    titles = {"all_rows": "multiply-adds until the exits, all rows", "answer_first": "answer first"}
    return [
        (title, f"{counted[key] / 1e9:.1f} G of {full / 1e9:.1f} G, {full / counted[key]:.2f}x")
        for key, title in titles.items()
    ]
