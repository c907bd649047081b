"""JupyterLab in a real browser: what the tests of the widgets see and press.

`python tests/browser.py` makes notebooks/figures/04_schedules.png, the README's picture of the schedule explorer.
"""

import contextlib
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import nbformat

from stepe_lite import course

SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # else cells out of sight are not in the page
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
BROKEN_BOXES = ("Error displaying widget", "model not found", "Loading widget", "Error creating widget")
LIMIT = 600  # seconds for a notebook on a busy machine


def chromium():
    """The path of a Chromium, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def shortened(path, parameters):
    """The notebook at `path` with an injected cell of those `parameters` that it has, and without outputs."""
    from papermill.parameterize import parameterize_notebook

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata.setdefault("tags", [])  # papermill looks for them
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata.pop("widgets", None)
    notebook.metadata["papermill"] = {}  # papermill notes the parameters there
    known = course.parameters_of(path)
    return parameterize_notebook(notebook, {name: value for name, value in parameters.items() if name in known})


class Lab:
    """A JupyterLab server on the folder `files`; `open(name)` gives a `Notebook` in a fresh page of `browser`."""

    def __init__(self, folder, browser):
        self.files, self.browser, self.log = folder / "files", browser, folder / "lab.log"
        self.files.mkdir()
        places = {
            f"JUPYTER{name}_DIR": str(folder / name.strip("_").lower())
            for name in ("_CONFIG", "_DATA", "_RUNTIME", "LAB_SETTINGS", "LAB_WORKSPACES")
        }
        for name, values in SETTINGS.items():
            path = folder / "lab_settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address, self.token = f"http://127.0.0.1:{port}", secrets.token_hex(16)
        environment = os.environ | places | {"STEPE_LITE_CLAIMS": "collect", "OMP_NUM_THREADS": "1"}
        environment["JUPYTER_TOKEN"] = self.token  # not an argument, which every user of the machine can read
        with open(self.log, "w") as log:
            self.server = subprocess.Popen(
                [
                    sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
                    "--ip=127.0.0.1", "--LabApp.expose_app_in_browser=True", f"--ServerApp.root_dir={self.files}",
                ],
                stdout=log, stderr=log, env=environment, cwd=folder, preexec_fn=_die_with_parent,
            )  # fmt: skip
        self._wait_for_server()

    def _wait_for_server(self):
        end = time.monotonic() + 120
        while time.monotonic() < end and self.server.poll() is None:
            with contextlib.suppress(OSError):
                return self.request("api/status")
            time.sleep(0.3)
        self.close()
        raise RuntimeError(f"JupyterLab did not start:\n{self.log.read_text()[-3000:]}")

    def request(self, path, method="GET"):
        headers = {"Authorization": f"token {self.token}"}
        asked = urllib.request.Request(f"{self.address}/{path}", method=method, headers=headers)
        with urllib.request.urlopen(asked, timeout=30) as got:
            return json.loads(got.read() or "null")

    @contextlib.contextmanager
    def open(self, path, width=1280, height=1000, **parameters):
        """The notebook at `path` (a copy of it, shortened where `parameters` are given), closed with its kernel."""
        path = Path(path)
        if parameters:
            nbformat.write(shortened(path, parameters), self.files / path.name)
        else:
            shutil.copy(path, self.files)
        page = self.browser.new_page(viewport={"width": width, "height": height})
        try:
            page.goto(f"{self.address}/doc/tree/{path.name}?reset&token={self.token}")
            page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=120_000)
            yield Notebook(page)
        finally:
            page.close()
            for session in self.request("api/sessions"):
                self.request(f"api/sessions/{session['id']}", "DELETE")

    def close(self):
        self.server.terminate()
        try:
            self.server.wait(20)
        except subprocess.TimeoutExpired:
            self.server.kill()


def _die_with_parent():
    """On Linux the kernel ends the server when the tests end, however they end."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1: PR_SET_PDEATHSIG


class Notebook:
    """A notebook in a page: `page` is Playwright's."""

    def __init__(self, page):
        self.page = page

    def run_all(self, limit=LIMIT):
        """Run all cells and wait for the last, at most `limit` seconds."""
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
            timeout=120_000,
        )
        self.page.evaluate(
            "() => { window.ran = undefined;"
            " window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.ran = true; }) }"
        )
        self.page.wait_for_function("() => window.ran", timeout=1000 * limit)
        self.page.wait_for_timeout(500)  # the last outputs are still being drawn

    def show_outputs(self):
        """Unfold the outputs that the notebook was saved with folded."""
        # The page shows one empty cell until the file is read, and `ready` is a cell that has taken its fold from it.
        self.page.evaluate(
            "async () => { const panel = window.jupyterapp.shell.currentWidget;"
            " await panel.context.ready; await panel.revealed;"
            " for (const cell of panel.content.widgets) await cell.ready;"
            " await window.jupyterapp.commands.execute('notebook:show-all-cell-outputs'); }"
        )

    def execute(self, code):
        """Run `code` in the notebook's kernel, outside any cell."""
        self.page.evaluate(
            "code => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
            ".requestExecute({code}).done.then(() => null)",
            code,
        )

    def errors(self):
        """The text of every error output in the page."""
        return self.page.locator('[data-mime-type="application/vnd.jupyter.error"]').all_inner_texts()

    def broken_boxes(self):
        """The words of broken or missing widgets that the page shows."""
        shown = "\n".join(self.page.locator(".jp-OutputArea").all_inner_texts())
        return [words for words in BROKEN_BOXES if words in shown]

    def pictures(self):
        """How many pictures the page shows, inside and outside widgets."""
        return self.page.locator(".jp-OutputArea img").count()


def picture_of_the_explorer(path, work):
    """Run notebook 4, move two sliders, train once, and write the picture of the widget to `path`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        lab = Lab(work, opened)
        try:
            with lab.open(course.find("04"), width=1400) as notebook:
                notebook.run_all()
                cell = notebook.page.locator(".jp-CodeCell", has_text="ScheduleExplorer(data")
                for label, presses in (("warm-up (epochs)", 3), ("ramp (epochs)", 5)):
                    for _ in range(presses):
                        cell.get_by_label(label, exact=True).press("ArrowUp")
                cell.get_by_role("button", name="Train with these settings").click()
                cell.get_by_role("cell", name="try 1", exact=True).wait_for()
                notebook.page.keyboard.press("Escape")
                cell.locator(".jp-Cell-outputArea").screenshot(path=path)
        finally:
            lab.close()
            opened.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as work:
        picture_of_the_explorer(course.folder() / "figures" / "04_schedules.png", Path(work))
