"""JupyterLab in headless Chromium, driven as a learner would: by clicks and keys."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "build" / "screenshots"
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --force-device-scale-factor=1"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
SECONDS = 90
NO_NEWS = "user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"


@contextlib.contextmanager
def lab(folder: Path, **environment: str) -> Iterator[str]:
    """A JupyterLab server on `folder`; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        settings = Path(home, ".jupyter", "lab", NO_NEWS)  # else a question covers a corner of every picture
        settings.parent.mkdir(parents=True)
        settings.write_text('{"fetchNews": "false"}', encoding="utf-8")
        env = os.environ | environment | {"HOME": home, "PYTHONPATH": str(ROOT), "JUPYTER_PLATFORM_DIRS": "0"}
        options = [f"--ServerApp.port={port}", "--IdentityProvider.token=", "--ServerApp.open_browser=False"]
        options += [f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True", "--allow-root"]
        command = [sys.executable, "-m", "jupyterlab", *options]
        with (Path(home) / "log").open("w") as log:
            server = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
        try:
            _wait_for(port, server)
            yield f"http://127.0.0.1:{port}/lab"
        finally:
            server.terminate()
            server.wait(30)


def _wait_for(port: int, server: subprocess.Popen) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.2)
    raise RuntimeError("JupyterLab did not start")


@contextlib.contextmanager
def chromium(width: int = 1280, height: int = 1400) -> Iterator[webdriver.Chrome]:
    """A browser of its own, with an empty profile."""
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in [*FLAGS.split(), f"--window-size={width},{height}", f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        driver.set_script_timeout(600)
        try:
            yield driver
        finally:
            driver.quit()


def emulate(driver: webdriver.Chrome, width: int, scheme: str, height: int = 1400) -> None:
    """Show pages in this width, which may be a phone's, to a reader who prefers `scheme`: light or dark."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def table(driver: webdriver.Chrome, count: int) -> list[list[str]]:
    """The texts of a page's table, once it has `count` rows; the formgrader fills its tables by and by."""

    def rows(_: object) -> list[list[str]] | None:
        found = driver.execute_script(_ROWS)  # at once: the page may draw its rows anew at any moment
        return found if len(found) == count and all(len(row) > 1 for row in found) else None

    return WebDriverWait(driver, SECONDS).until(rows)


class Notebook:
    """An open notebook: cells are found by their text, answered by typing, run by Shift+Enter."""

    def __init__(self, driver: webdriver.Chrome, address: str, name: str) -> None:
        self.driver = driver
        driver.get(f"{address}/tree/{name}")
        self.wait(lambda: self._js("return !!(window.jupyterapp && jupyterapp.shell.currentWidget)"))
        self.wait(
            lambda: (
                self._js(f"{_CELLS} return panel && panel.sessionContext.session?.kernel?.status") == "idle"
            )
        )

    def wait(self, condition: object, seconds: float = SECONDS) -> object:
        """The first true value of `condition()`."""
        return WebDriverWait(self.driver, seconds, 0.2).until(lambda _: condition())

    def _js(self, code: str, *args: object) -> object:
        return self.driver.execute_script(code, *args)

    def index(self, text: str) -> int:
        """The number of the first code cell whose source contains `text`."""
        found = self._js(
            f"{_CELLS} return cells.findIndex(c => c.model.type == 'code' && "
            "c.model.sharedModel.getSource().includes(arguments[0]))",
            text,
        )
        assert found >= 0, f"no cell with {text!r}"
        return int(found)

    def source(self, number: int) -> str:
        """The cell's text."""
        return str(self._js(f"{_CELLS} return cells[arguments[0]].model.sharedModel.getSource()", number))

    def keys(self, *chord: str) -> None:
        """Press the last key while the others are held down."""
        _press(ActionChains(self.driver), *chord).perform()

    def focused(self) -> str:
        """The words on the control that has the keyboard's focus, or the text that it holds."""
        return str(
            self._js("const at = document.activeElement; return at.value || at.innerText || ''")
        ).strip()

    def active(self) -> int:
        """The number of the active cell."""
        return int(self._js(f"{_CELLS} return content.activeCellIndex"))

    def cell(self, number: int) -> WebElement:
        """The cell, scrolled into view and rendered."""
        self._js(
            f"{_CELLS} content.activeCellIndex = arguments[0]; content.scrollToItem(arguments[0])", number
        )
        find = f"[data-windowed-list-index='{number}']"
        return self.wait(lambda: next(iter(self.driver.find_elements(By.CSS_SELECTOR, find)), None))

    def type_into(self, number: int, text: str) -> None:
        """Replace the cell's text by typing."""
        self.cell(number).find_element(By.CSS_SELECTOR, ".cm-content").click()
        self.keys(Keys.CONTROL, "a")
        self.keys(Keys.DELETE)
        for line in text.split("\n"):  # the editor indents by itself, so each line starts from its beginning
            keys = ActionChains(self.driver).send_keys(line).send_keys(Keys.ENTER)
            _press(_press(keys, Keys.SHIFT, Keys.HOME), Keys.DELETE).perform()
        assert self.source(number).strip() == text.strip(), "the editor changed what was typed"

    def run(self, number: int, seconds: float = SECONDS) -> str:
        """Run the cell by Shift+Enter; the text of its outputs."""
        self.cell(number).find_element(By.CSS_SELECTOR, ".cm-content").click()
        return self.run_by(Keys.SHIFT, number, seconds)

    def run_by(self, held: str, number: int, seconds: float = SECONDS) -> str:
        """Run the cell that has the focus: Shift+Enter goes on to the next, Control+Enter stays."""
        count = f"{_CELLS} return cells[arguments[0]].model.executionCount"
        before = self._js(count, number)
        self.keys(held, Keys.ENTER)
        self.wait(lambda: self._js(count, number) not in (None, before), seconds)
        self.wait(
            lambda: self._js(f"{_CELLS} return panel.sessionContext.session.kernel.status") == "idle", seconds
        )
        return self.output(number)

    def output(self, number: int) -> str:
        """What a reader sees below the cell."""
        return "\n".join(
            o.text for o in self.cell(number).find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output")
        )

    def unsaved(self) -> bool:
        """Whether the notebook holds more than its file."""
        return bool(self._js(f"{_CELLS} return panel.context.model.dirty"))

    def too_wide(self) -> list[str]:
        """The beginnings of all outputs and buttons whose text does not fit into their width."""
        count = int(self._js(f"{_CELLS} return cells.length"))
        wide = []
        for number in range(count):  # the list renders only what is in view
            if self._js(f"{_CELLS} return cells[arguments[0]].model.outputs?.length > 0", number):
                wide += self._js(_WIDE, self.cell(number))
        return wide

    def command(self, name: str, **args: object) -> None:
        """Run a command of JupyterLab and wait for it."""
        code = "jupyterapp.commands.execute(arguments[0], arguments[1]).then(() => arguments[2]())"
        self.driver.execute_async_script(code, name, args)

    def screenshot(self, path: Path, number: int) -> Path:
        """A picture of the window with this cell in view."""
        self.cell(number)
        time.sleep(0.5)  # the list of cells renders what came into view
        path.parent.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(path))
        return path


def _press(keys: ActionChains, *chord: str) -> ActionChains:
    for held in chord[:-1]:
        keys.key_down(held)
    keys.send_keys(chord[-1])
    for held in chord[:-1]:
        keys.key_up(held)
    return keys


_ROWS = (
    "return [...document.querySelectorAll('tbody tr')]"
    ".map(row => [...row.cells].map(cell => cell.innerText.trim()))"
)
_WIDE = (
    "return [...arguments[0].querySelectorAll('.jp-RenderedHTMLCommon, .jupyter-button')]"
    ".filter(e => e.scrollWidth > e.clientWidth + 2).map(e => e.innerText.slice(0, 60))"
)
_CELLS = "const panel = jupyterapp.shell.currentWidget, content = panel.content, cells = content.widgets;"
