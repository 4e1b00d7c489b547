"""Progress goes to standard output alone: sparse lines in a log, a rewritten line, or a notebook's text."""

import io
import sys
import types
from contextlib import redirect_stdout

import pytest

from rslib import progress as module
from rslib.progress import Progress, note


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless a test sets `clock.now`."""
    clock = types.SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    return clock


class Terminal(io.StringIO):
    """Standard output that says it is a terminal."""

    def isatty(self):
        return True

    def screen(self):
        """The lines a person sees: a carriage return starts the line anew."""
        return [line.split("\r")[-1].rstrip() for line in self.getvalue().split("\n")]


@pytest.fixture
def terminal(monkeypatch):
    """Put into place by the test itself: pytest sets standard output anew after the fixtures."""
    monkeypatch.setattr(module._TerminalLine, "width", 0)
    return Terminal()


@pytest.fixture
def notebook(monkeypatch):
    """A kernel whose front end records what is displayed and what is updated."""
    shown = []

    class Handle:
        def update(self, data, raw):
            assert raw
            shown.append(("update", data))

    def display(data, raw, display_id):
        assert raw and display_id is True
        shown.append(("display", data))
        return Handle()

    shell = types.SimpleNamespace(kernel=object())
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: shell
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    return types.SimpleNamespace(shown=shown, shell=shell)


def work(clock, seconds, steps, total=6400, **options):
    with Progress(total, "sample", **options) as progress:
        for _ in range(steps):
            clock.now += seconds
            progress.advance(total // steps)


def test_a_log_gets_a_line_every_five_seconds_at_most_and_one_at_the_end(clock, capsys):
    work(clock, seconds=1, steps=16)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "sample: 2000/6400 responses, 5 s, about 11 s left",
        "sample: 4000/6400 responses, 10 s, about 6 s left",
        "sample: 6000/6400 responses, 15 s, about 1 s left",
        "sample: 6400/6400 responses, 16 s",
    ]


def test_a_short_stage_is_one_line(clock, capsys):
    work(clock, seconds=0.1, steps=10, unit="steps")
    assert capsys.readouterr().out == "sample: 6400/6400 steps, 1 s\n"


def test_nothing_goes_to_standard_error(clock, capsys):
    work(clock, seconds=7, steps=4)
    note("half way")
    assert capsys.readouterr().err == ""


def test_a_silent_stage_and_a_silent_note_print_nothing(clock, capsys):
    work(clock, seconds=7, steps=4, show=False)
    note("half way", show=False)
    assert capsys.readouterr().out == ""


def test_cached_units_count_as_done_but_do_not_make_the_estimate_hopeful(clock, capsys):
    with Progress(300, "score") as progress:
        progress.advance(100, cached=True)
        clock.now += 10
        progress.advance(100)
    assert "200/300 responses, 10 s, about 10 s left" in capsys.readouterr().out


def test_an_interrupted_stage_says_where_it_stopped_and_lets_the_interrupt_pass(clock, capsys):
    with pytest.raises(KeyboardInterrupt), Progress(10, "sample") as progress:
        progress.advance(4)
        raise KeyboardInterrupt
    assert capsys.readouterr().out == "sample: 4/10 responses, 0 s, stopped\n"


def test_a_stage_without_work_ends_at_once(clock, capsys):
    with Progress(0, "sample"):
        pass
    assert capsys.readouterr().out == "sample: 0/0 responses, 0 s\n"


def test_a_terminal_shows_one_line_that_is_rewritten(clock, terminal):
    with redirect_stdout(terminal):
        work(clock, seconds=1, steps=4)
    assert terminal.getvalue().startswith("sample: 0/6400 responses, 0 s")
    assert terminal.getvalue().count("\r") >= 6
    assert terminal.screen() == ["sample: 6400/6400 responses, 4 s", ""]


def test_a_note_in_the_middle_of_a_terminal_line_stands_on_its_own(clock, terminal):
    with redirect_stdout(terminal), Progress(2, "train", unit="steps") as progress:
        clock.now += 1
        progress.advance()
        note("memory ran out")
        progress.advance()
    assert terminal.screen() == ["memory ran out", "train: 2/2 steps, 1 s", ""]


def test_a_line_wider_than_the_terminal_is_cut_while_it_is_rewritten(clock, terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    with redirect_stdout(terminal), Progress(10, "a label that is far too long") as progress:
        clock.now += 1
        progress.advance()
        assert len(terminal.screen()[-1]) <= 19
    assert "a label that is far too long: 1/10" in terminal.screen()[0]


def test_a_notebook_gets_one_plain_text_that_is_updated(clock, notebook, capsys):
    work(clock, seconds=1, steps=2)
    kinds = [kind for kind, _ in notebook.shown]
    assert kinds == ["display", "update", "update"]
    assert all(list(data) == ["text/plain"] for _, data in notebook.shown)
    assert notebook.shown[-1][1]["text/plain"] == "sample: 6400/6400 responses, 2 s"
    assert capsys.readouterr().out == ""


def test_ipython_in_a_terminal_is_no_notebook(clock, notebook, capsys):
    notebook.shell.kernel = None
    work(clock, seconds=1, steps=2)
    assert notebook.shown == [] and capsys.readouterr().out


def test_ipython_is_not_imported_to_find_out(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not module._in_notebook()
    assert "IPython" not in sys.modules


@pytest.mark.parametrize("seconds, text", [(0.4, "0 s"), (59.6, "1 min 00 s"), (3599.7, "1 h 00 min")])
def test_durations_round_over_their_borders(seconds, text):
    assert module.duration(seconds) == text
