"""Fixtures for all tests. The user's own data files are out of reach, except in tests marked `cifar`."""

import itertools
import shutil

import pytest
from hypothesis import settings

from stepe_lite import load
from stepe_lite.datasets import sources

settings.register_profile("no deadline", deadline=None)  # a busy machine must not fail a test
settings.load_profile("no deadline")


def pytest_collection_modifyitems(items):
    """An address in the name of a test would differ between the workers of pytest-xdist, which then run nothing."""
    named = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if named:
        raise pytest.UsageError(f"name the parameters of these tests by ids=: {named}")


@pytest.fixture(autouse=True)
def own_places(request, tmp_path_factory):
    """Point $STEPE_LITE_DATA and the per-user cache at empty folders."""
    if request.node.get_closest_marker("cifar"):
        yield
        return
    empty = tmp_path_factory.mktemp("places")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEPE_LITE_DATA", str(empty / "data"))
        patch.setattr(sources, "cache", lambda: empty / "cache")
        yield
    shutil.rmtree(empty)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory, worker_id):
    """One folder for all processes of this run of the tests; without pytest-xdist there is but one process."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def digits():
    return load("digits")


@pytest.fixture(scope="session")
def cifar_folder():
    """The folder with the real CIFAR and CIFAR-N files."""
    wanted = sources.needed("cifar10n-worse") | sources.needed("cifar100n")
    for folder in sources.places():
        if all((folder / path).is_file() for path in wanted):
            return folder
    pytest.skip("the CIFAR and CIFAR-N files are neither in $STEPE_LITE_DATA nor in the per-user cache")


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """JupyterLab and a browser, see `browser.Lab`; skipped where there is no Chromium."""
    import browser
    from playwright.sync_api import sync_playwright

    path = browser.chromium()
    if path is None:
        pytest.skip("no Chromium on the PATH (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        server = browser.Lab(tmp_path_factory.mktemp("lab"), opened)
        try:
            yield server
        finally:
            server.close()
            opened.close()


def pytest_terminal_summary(terminalreporter):
    """What the tests marked `torture` have seen."""
    for report in itertools.chain(*terminalreporter.stats.values()):
        for name, counts in getattr(report, "user_properties", ()):
            if name == "torture" and report.when == "teardown":
                terminalreporter.write_line(f"{report.nodeid.split('::')[1]}: {counts}")
