"""Preferences as a bar chart on a page of its own, as in Figure 6 of the paper."""

from collections.abc import Sequence
from typing import NamedTuple

from jinja2 import PackageLoader

from evaluation.reports.page import render as rendered
from evaluation.study.preferences import Preference, Preferences
from evaluation.study.trials import QUESTIONS, Question, wording

_ROW, _HEAD = 64, 20  # screen pixels of a bar with its label, and above the first one


class Bar(NamedTuple):
    """One pair of methods in the chart."""

    preference: Preference
    top: int  # screen pixels from the chart's top


class Chart(NamedTuple):
    """All bars of one question."""

    question: str
    title: str
    bars: Sequence[Bar]
    height: int


def render(preferences: Preferences) -> str:
    """A self-contained HTML page: for each question a chart and its table."""
    charts = [chart for question in QUESTIONS if (chart := _chart(question, preferences)).bars]
    return rendered(
        PackageLoader("evaluation.study", "."), "chart.html", outcome=preferences, charts=charts
    )


def _chart(question: Question, preferences: Preferences) -> Chart:
    shown = [each for each in preferences.preferences if each.question == question]
    bars = [Bar(each, _HEAD + place * _ROW) for place, each in enumerate(shown)]
    return Chart(question, wording(question, preferences.to), bars, _HEAD + len(bars) * _ROW)
