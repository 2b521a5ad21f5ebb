"""One self-contained HTML page of a simulation: its figures, and drawings as SVG."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from dataclasses import fields

from JenniferDIRAC.WorkloadManagementSystem.Simulator.Measure import Point
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Report import Figures
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Scenario import Scenario
from JenniferDIRAC.WorkloadManagementSystem.Simulator.Simulation import Result

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")  # told apart by the colour-blind too
_WASTE = ("boot_percent", "idle_percent", "tail_percent", "failed_percent", "lost_percent")
_STYLE = "body{font:16px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}svg{max-width:100%;height:auto}"
_STYLE += "table{border-collapse:collapse}td,th{border:1px solid #999;padding:.2em .6em;text-align:right}"
_STYLE += "th:first-child{text-align:left}"


class NoDrawings(Exception):
    """matplotlib is not installed; the text says what to do."""


def check_available() -> None:
    """:raises NoDrawings: before a long run rather than after it"""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise NoDrawings(
            "drawings need matplotlib, which is not installed here: pip install 'JenniferDIRAC[server]', or "
            "pip install matplotlib; without --html nothing needs it"
        ) from None


def page(scenario: Scenario, results: Sequence[Result], runs: Sequence[Figures]) -> str:
    """:raises NoDrawings: matplotlib is not installed"""
    check_available()
    title = html.escape(f"Simulation: {scenario.about or 'scenario'}")
    parts = [
        f"<!DOCTYPE html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>",
        f"<h1>{title}</h1><p>{scenario.days:g} days, seed {scenario.seed}.</p>",
        _table(runs),
        "<h2>Waste, as a part of the core-hours held</h2>",
        _waste(runs),
    ]
    for result in results:
        name = html.escape(result.name)
        parts.append(f"<h2>{name}: cores in use, and jobs waiting</h2>{_history(result.measure.points, scenario.vos)}")
    return "\n".join(parts)


def _table(runs: Sequence[Figures]) -> str:
    head = "".join(f"<th>{html.escape(run.policy)}" for run in runs)
    rows = [f"<tr><th>{head}"]
    for name in (each.name for each in fields(Figures) if each.name != "policy"):
        values = [getattr(run, name) for run in runs]
        if not isinstance(values[0], dict):
            cells = "".join(f"<td>{'-' if value is None else f'{value:,}'}" for value in values)
            rows.append(f"<tr><th>{html.escape(name.replace('_', ' '))}{cells}")
    return f"<table>{''.join(rows)}</table>"


def _waste(runs: Sequence[Figures]) -> str:
    figure, axes = _figure(1, height=0.6 + 0.5 * len(runs))
    left = [0.0] * len(runs)
    names = [run.policy for run in runs]
    for colour, name in zip(COLOURS, _WASTE, strict=False):
        parts = [getattr(run, name) for run in runs]
        axes[0].barh(names, parts, left=left, color=colour, label=name.removesuffix("_percent"))
        left = [a + b for a, b in zip(left, parts, strict=True)]
    axes[0].invert_yaxis()
    axes[0].set_xlabel("% of core-hours held")
    axes[0].legend(ncols=len(_WASTE), loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    return _svg(figure)


def _history(points: Sequence[Point], vos: Sequence[str]) -> str:
    figure, (cores, waiting) = _figure(2, height=6)
    days = [point.day for point in points]
    cores.stackplot(days, [[point.held.get(vo, 0) for point in points] for vo in vos], labels=vos, colors=COLOURS)
    busy = [sum(point.busy.values()) for point in points]
    cores.plot(days, busy, color="black", linewidth=0.8, label="with a job")
    cores.set_ylabel("cores in use")
    cores.legend(ncols=len(vos) + 1, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    for vo, colour in zip(vos, COLOURS, strict=False):
        waiting.plot(days, [point.waiting.get(vo, 0) for point in points], color=colour, linewidth=0.8)
    waiting.set_ylabel("jobs waiting")
    waiting.set_xlabel("days")
    return _svg(figure)


def _figure(rows: int, height: float):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, height), layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
