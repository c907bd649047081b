"""The claims of the course are narrow enough: with a fault in the method, some of them break."""

import shutil
from pathlib import Path

import pytest

import stepe_lite
from stepe_lite import course

# Each fault: (module, what stands there, what stands there instead), one or more times.
FAULTS = {
    "ranking reversed": [
        (
            "ranking.py",
            "    weights = torch.ones(n, device=scores.device)\n",
            "    weights, scores = torch.ones(n), -scores\n",
        )
    ],
    "schedule ignored": [
        ("schedules.py", "< self.warmup:", "< 0:"),
        ("schedules.py", "return self.final * _SHAPES[self.shape](t, self.sharpness)", "return self.final"),
    ],
    "excluded samples still trained on": [
        ("ledger.py", "trained = self.trained\n", "trained = torch.arange(self.n)\n"),
        ("training.py", "ledger.weights[index]", "torch.ones(len(index))"),
    ],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_method_breaks_a_claim(fault, monkeypatch, tmp_path):
    faulty = tmp_path / "faulty"
    shutil.copytree(
        Path(stepe_lite.__file__).parent, faulty / "stepe_lite", ignore=shutil.ignore_patterns("__pycache__")
    )
    for module, right, wrong in FAULTS[fault]:
        path = faulty / "stepe_lite" / module
        assert path.read_text(encoding="utf-8").count(right) == 1, f"{module} no longer has {right!r}"
        path.write_text(path.read_text(encoding="utf-8").replace(right, wrong), encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(faulty))
    report = course.run(["03"], out=tmp_path / "out", progress=False)
    (entry,) = report["notebooks"]
    broken = [claim["text"] for claim in entry["claims"] if not claim["holds"]]
    assert "broken" in entry["error"] and any("Step-E" in text for text in broken)
