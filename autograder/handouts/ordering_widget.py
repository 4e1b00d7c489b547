"""A helper for the ordering exercise: move cards with buttons, then copy the line that it writes.

Its state is never graded: the exercise grades the list that a learner writes. Every control is an ordinary
button, so Tab and Enter reach all of it. Works with ipywidgets 7.7 and 8;
without it a sentence says what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MISSING = "This helper needs ipywidgets, which is not installed here. Write the list by hand: order = [...]."


def order_helper(cards: Iterable[str] | Any, name: str = "order") -> Any:
    """The helper as a widget, or None where ipywidgets is missing.

    cards: names, or the deck that `given("1.1")` hands out. name: the variable of the line to copy.
    """
    try:
        import ipywidgets
    except ImportError:
        print(MISSING)
        return None
    return Helper(ipywidgets, list(getattr(cards, "names", cards)), name).box


class Helper:
    """The rows of cards and the line below them."""

    def __init__(self, widgets: Any, names: list[str], variable: str) -> None:
        self.names, self.variable = names, variable
        self.used = dict.fromkeys(names, True)
        self.line = widgets.Text(description="Copy this", layout={"width": "95%"})
        self.rows = [self._row(widgets, row) for row in range(len(names))]
        self.box = widgets.VBox([*(widgets.HBox(list(row)) for row in self.rows), self.line])
        self.refresh()

    def _row(self, widgets: Any, row: int) -> tuple[Any, ...]:
        """Label, up, down and leave-out button of the row at this place; the rows stay, their cards move."""
        label = widgets.Label(layout={"width": "11em"})
        actions = (lambda _: self.move(row, -1), lambda _: self.move(row, 1), lambda _: self.toggle(row))
        buttons = []
        for action in actions:
            button = widgets.Button(layout={"width": "11em", "padding": "0"})  # words fit a narrow screen
            button.on_click(action)
            buttons.append(button)
        return (label, *buttons)

    def move(self, row: int, by: int) -> None:
        """Swap a card with the next one in use, past those left out, so that every press changes the line.

        The keyboard's focus goes along where ipywidgets can do that.
        """
        way = range(row - 1, -1, -1) if by < 0 else range(row + 1, len(self.names))
        to = next((k for k in way if self.used[self.names[k]]), None)
        if to is None or not self.used[self.names[row]]:
            return
        self.names[row], self.names[to] = self.names[to], self.names[row]
        self.refresh()
        button = self.rows[to][1 if by < 0 else 2]
        if hasattr(button, "focus"):
            button.focus()

    def toggle(self, row: int) -> None:
        """Leave a card out, or take it in again."""
        self.used[self.names[row]] = not self.used[self.names[row]]
        self.refresh()

    def refresh(self) -> None:
        """Write every label, and the line to copy."""
        used = [name for name in self.names if self.used[name]]
        for name, (label, up, down, out) in zip(self.names, self.rows, strict=True):
            label.value = f"{used.index(name) + 1}. {name}" if name in used else f"({name}: left out)"
            up.description, down.description = f"{name} up", f"{name} down"
            up.disabled = down.disabled = not self.used[name]  # a card that is left out has no place
            out.description = f"{name} out" if self.used[name] else f"{name} in"
        self.line.value = f"{self.variable} = [{', '.join(repr(name) for name in used)}]".replace("'", '"')
