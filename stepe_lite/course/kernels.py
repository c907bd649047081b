"""Kernels for the notebooks: this very Python, and nobody waits for ever for its replies."""

import contextlib
import os
import queue
import subprocess

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager


class AskingChannel(AsyncZMQSocketChannel):
    """A channel that looks again every five seconds, where others wait for a signal.

    Once in thousands of cells a message is there, but ZeroMQ's one signal of it has been missed.
    """

    async def get_msg(self, timeout=None):
        while timeout is None:
            with contextlib.suppress(queue.Empty):
                return await super().get_msg(5)
        return await super().get_msg(timeout)


class OwnKernels(AsyncKernelManager):
    """A manager of kernels that run this very Python: what "python3" stands for may be another one, or gone."""

    def client(self, **settings):
        return super().client(shell_channel_class=AskingChannel, iopub_channel_class=AskingChannel, **settings)

    @property
    def kernel_spec(self):
        known = get_kernel_dict()
        return KernelSpec(**{name: known[name] for name in ("argv", "display_name", "language")})


def fault():
    """What is wrong with the kernel "python3", which JupyterLab gives to the notebooks, as a sentence; else None."""
    try:
        spec = KernelSpecManager().get_kernel_spec("python3")
        look = (
            "from importlib.util import find_spec; raise SystemExit(0 if find_spec('stepe_lite') else 'no stepe_lite')"
        )
        found = subprocess.run([spec.argv[0], "-c", look], capture_output=True, text=True, env=os.environ | spec.env)
        why = f"runs {spec.argv[0]}, which says: {found.stderr.strip()}" if found.returncode else None
        place = spec.resource_dir
    except OSError as error:
        why, place = f"runs {error.filename}, which cannot be started ({error.strerror})", spec.resource_dir
    except Exception as error:  # no kernel of that name, or a damaged file: half a dozen unrelated types
        why, place = f"cannot be read ({error})", "kernels/python3"
    return why and f"JupyterLab's kernel python3 ({place}) {why}. Mend with: jupyter kernelspec remove python3"
