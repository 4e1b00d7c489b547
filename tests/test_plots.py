"""A figure asks a question, shows its intervals, and says in words what it shows."""

import base64
import copy
import subprocess
import sys
import types

import numpy as np
import pytest
from fake_tables import arms, best_rows, pool_and_kept, scored

from rslib import evaluation, plots, reporting
from rslib.errors import ConfigError, DataError

FIGURES = {
    "arms": lambda entry: plots.arms_figure(entry),
    "curve": lambda entry: plots.best_of_n_curve(entry["best_of_n"]),
    "histogram": lambda entry: plots.reward_histogram(entry["histogram"]),
    "selection": lambda entry: plots.selection_figure(entry["selection"]),
    "kl": lambda entry: plots.gold_against_kl([entry, {**entry, "round": 2}]),
}
AN_ESTIMATE = {
    "arms": lambda entry: entry["arms"]["random"]["gold"],
    "curve": lambda entry: entry["best_of_n"]["rows"][1]["proxy"],
    "histogram": lambda entry: entry["histogram"]["kept"][2],
    "selection": lambda entry: entry["selection"]["rows"]["rejected"]["length"],
    "kl": lambda entry: entry["arms"]["best_of_n"]["intervals"]["kl"],
}


@pytest.fixture(scope="module")
def entry():
    pool, kept = pool_and_kept(20, 8)
    return reporting.round_entry(1, arms(20), n=8, pool=pool, kept=kept)


def figure_of(axes):
    return (axes[0] if isinstance(axes, list) else axes).figure


def words_of(axes):
    figure = figure_of(axes)
    titles = [figure.get_suptitle(), *(panel.get_title(loc="left") for panel in figure.axes)]
    return " ".join(titles), " ".join(text.get_text() for text in figure.findobj(match=is_text))


def is_text(artist):
    return hasattr(artist, "get_text")


@pytest.mark.parametrize("name", FIGURES)
def test_the_title_is_a_question_and_n_stands_in_a_label(name, entry):
    title, every = words_of(FIGURES[name](entry))
    assert title.strip().endswith("?")
    assert "n = " in every or "n, " in every or "responses" in every


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("end", ["low", "high"])
def test_no_estimate_is_drawn_without_its_interval(name, end, entry):
    broken = copy.deepcopy(entry)
    del AN_ESTIMATE[name](broken)[end]
    with pytest.raises(DataError, match="no interval for"):
        FIGURES[name](broken)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_sentence_that_says_what_it_shows(name, entry):
    sentence = plots.summary_of(FIGURES[name](entry))
    assert sentence.endswith(".") and any(letter.isdigit() for letter in sentence)


def test_the_sentence_speaks_of_both_panels_of_the_arms(entry):
    sentence = plots.summary_of(plots.arms_figure(entry))
    for metric in ("gold", "proxy"):
        assert f"{entry['arms']['best_of_n'][metric]['mean']:.2f} [" in sentence


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_data_give_the_same_bytes(kind, entry):
    first, second = (plots.rendered(plots.best_of_n_curve(entry["best_of_n"]), kind) for _ in range(2))
    assert first == second and len(first) > 2000


def test_arms_are_told_apart_without_colour():
    looks = list(plots.LOOKS.values())
    for part in (0, 1):
        assert len({look[part] for look in looks}) == len(looks)
    assert plots.look_of("tuned") == plots.look_of("tuned") and plots.look_of("tuned") not in looks


@pytest.mark.parametrize("colour", sorted({look[0] for look in (*plots.LOOKS.values(), *plots.SPARE_LOOKS)}))
def test_a_thin_line_in_the_colour_of_an_arm_can_be_seen_on_white(colour):
    """WCAG 2.2, 1.4.11: a contrast of at least 3 to 1, by relative luminance."""
    shares = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 3


def test_the_peak_of_gold_is_marked_and_the_fall_is_in_the_summary(entry):
    table = copy.deepcopy(entry["best_of_n"])
    table["peak_n"] = 4
    table["rows"][-1]["below_peak"] = {"difference": -0.6, "low": -0.9, "high": -0.3}
    axes = plots.best_of_n_curve(table)
    assert "peak: n = 4" in words_of(axes)[1]
    assert "lower at n = 8: -0.60 [-0.90, -0.30]" in plots.summary_of(axes)
    table["rows"][-1]["below_peak"] = {"difference": -0.1, "low": -0.3, "high": 0.1}
    assert "not separably lower" in plots.summary_of(plots.best_of_n_curve(table))


def test_without_gold_there_is_one_panel_and_no_peak():
    table = evaluation.best_of_n_table(scored(6, 4).remove_columns("gold"))
    assert len(plots.best_of_n_curve(table)) == 1


def test_a_reward_that_pays_for_length_shows_in_the_summary():
    pool = scored(20, 8, reward_bias=0.5)
    axes = plots.length_against_reward(pool, best_rows(pool, 8))
    assert "correlation of reward and length is +" in plots.summary_of(axes)


def test_a_figure_can_be_drawn_into_given_axes(entry):
    from matplotlib.figure import Figure

    panel = Figure().subplots()
    assert plots.reward_histogram(entry["histogram"], panel) is panel
    with pytest.raises(ConfigError, match="2 axes"):
        plots.best_of_n_curve(entry["best_of_n"], [panel])


def test_show_prints_the_summary(entry, capsys):
    axes = plots.arms_figure(entry)
    plots.show(axes)
    said = capsys.readouterr().out
    assert " ".join(said.split()) == plots.summary_of(axes) and max(map(len, said.split("\n"))) <= 88


def test_in_a_notebook_the_figure_is_shown_with_its_summary_as_alt_text(entry, monkeypatch, capsys):
    shown = []
    notebook = types.ModuleType("IPython")
    notebook.version_info = (8, 24, 0)  # matplotlib's own question
    notebook.get_ipython = lambda: "a running kernel"
    notebook.display = types.ModuleType("IPython.display")
    notebook.display.display = lambda data, **options: shown.append((data, options))
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", notebook.display)
    plots.show(plots.arms_figure(entry), "Two arms.")
    data, options = shown[0]
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG") and data["text/plain"] == "Two arms."
    assert options["metadata"]["image/png"]["alt"] == "Two arms." and capsys.readouterr().out == "Two arms.\n"


def test_saving_writes_svg_or_png_and_refuses_the_rest(entry, tmp_path):
    axes = plots.arms_figure(entry)
    assert plots.save(axes, tmp_path / "a.svg").read_bytes().startswith(b"<?xml")
    assert plots.save(axes, tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="svg or png"):
        plots.save(axes, tmp_path / "a.gif")


def test_drawing_touches_neither_pyplot_nor_a_global_style():
    code = (
        "import sys, matplotlib; before = dict(matplotlib.rcParams)\n"
        "from rslib import plots\n"
        "point = {'mean': 1.0, 'low': 0.5, 'high': 1.5}\n"
        "row = {'n': 1, 'proxy': point, 'gold': None, 'below_peak': None}\n"
        "axes = plots.best_of_n_curve({'rows': [row], 'peak_n': None, 'prompts': 1, 'pool_size': 1})\n"
        "plots.rendered(axes, 'svg')\n"
        "assert dict(matplotlib.rcParams) == before and 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
