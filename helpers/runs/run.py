"""One run = one folder: ``outputs/<notebook>/<run_name>/``.

``start`` checks everything that can be checked cheaply, seeds, opens the folder and prints one screen;
``Run`` keeps results as they come; ``Run.finish`` says that nothing is missing. A rerun with the same settings
replaces the earlier one, unless ``resume=True`` continues it; other settings or data never do.
"""

from __future__ import annotations

import atexit
import dataclasses
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.config.parameters import Settings
from helpers.config.settings import as_recorded, resolve
from helpers.errors import RunError
from helpers.files import write_atomic
from helpers.machine import energy, ranks
from helpers.runs import claims, interruption, records
from helpers.runs.display import duration, energy_text, peak_memory, quieten, short_path, start_screen
from helpers.runs.findings import Findings
from helpers.runs.folder import kept_in, open_folder
from helpers.runs.provenance import git_state, peak_cuda_gb, peak_rss_gb, seed_everything, torch_on_cpu
from helpers.runs.records import FAILED, FINISHED, RUNNING
from helpers.training.checkpoints import Mirror, latest_checkpoint, sweep, watch
from helpers.training.launch import POINTER

if TYPE_CHECKING:
    from helpers.machine.hardware import Machine
    from helpers.memory import Fit


class Run(Findings):
    """A run in progress. Attributes: ``settings``, ``machine``, ``folder``, ``device`` ("cuda" or "cpu").

    Of several processes only the first writes into ``folder``; the others have one of their own that goes with them.
    What they read is in ``checkpoints``, which is the same for all.
    """

    def __init__(
        self, settings: Settings, machine: Machine, folder: Path, previous: dict[str, Any], began: float
    ) -> None:
        self.settings = settings
        self._shared = folder
        folder = folder if ranks.first() else Path(_scratch())
        self.machine = machine
        super().__init__(folder, settings.seed, as_recorded(settings))
        self.device = machine.device
        self._began = began
        self._info: dict[str, Any] = {
            "notebook": settings.notebook, "run_name": settings.run_name, "status": RUNNING, "error": None,
            "started": _now(), "finished": None, "wall_time_s": None, "energy": None,
            "peak_rss_gb": None, "peak_cuda_gb": None,
            "resumed": bool(previous),
            "settings": settings.as_dict() | {"output_dir": short_path(Path(settings.output_dir))},
            "given": list(settings.given), "begun": previous.get("begun") or datetime.now(UTC).isoformat(),
            "notes": dict(previous.get("notes", {})), "fallbacks": [], "git": git_state(),
            "versions": dict(getattr(machine, "versions", {})),
            "hardware": {k: v for k, v in machine.as_dict().items() if k != "versions"}
            | torch_on_cpu(machine.cpu_isa),
            "process": records.this_process(), "processes": ranks.world(),
        }  # fmt: skip
        self._before: dict[str, Any] = dict(previous.get("notes", {}))
        self._mirror = self._open_mirror()
        self._energy = energy.EnergyMeter(energy.find(machine.device, machine.device_name))
        self._write_info()

    def note(self, key: str, value: Any) -> None:
        """Keep a fact about the run in run.json, e.g. the data's fingerprint.

        Raises:
            RunError: a run is continued, and the fingerprint is not the one that it began with: checkpoints of other
                data or of another model must not be continued, even under equal settings. Or one of several processes
                has another fingerprint than the first.
        """
        value = records.clean(value)
        before, now = (_fingerprint(v) for v in (self._before.get(key), value))
        if now:
            ranks.agree(key, {"the fingerprint": now})
        if before and now and before != now and self.settings.as_dict().get("resume"):
            raise RunError(
                f"run {self.settings.run_name!r} cannot be resumed: the fingerprint of its {key} was {before}"
                f" and is now {now}",
                f"Bring back the same {key}, or choose another run_name",
            )
        self._info["notes"][key] = value
        if self._mirror is not None:
            self._mirror.notes = self._fingerprints()
        self._write_info()

    def _fingerprints(self) -> dict[str, Any]:
        found = {key: _fingerprint(value) for key, value in self._info["notes"].items()}
        return {key: {"fingerprint": text} for key, text in found.items() if text}

    def fallback(self, what: str, why: str) -> None:
        """Print and record that something weaker than asked for is used."""
        print(f"note: {what} ({why})")
        self._info["fallbacks"].append({"what": what, "why": why})
        self._write_info()

    def check_memory(
        self,
        prompt: int | None = None,
        completion: int | None = None,
        rows: Sequence[int] | None = None,
        examples: int | None = None,
    ) -> Fit:
        """Plan the largest steps of this lesson and stop where they would not fit into what is free; loads nothing.

        Then say how long the lesson will take.

        Args:
            prompt, completion: tokens of the longest texts, from ``memory.tokens_of``.
            rows: tokens of each training row, from ``memory.row_tokens``; without them the usual ones.
            examples: tokens of the worked examples that stand in front of a question.

        Raises:
            HardwareError: it would not fit; names the cheapest change. With ``check_memory=False`` nothing is planned.
        """
        from helpers import memory
        from helpers.duration import forecast, report
        from helpers.machine import free

        machine = free.refreshed(self.machine)
        if ranks.sharded() or not self.settings.check_memory:
            why = "type python -m helpers plan, with --cards" if ranks.sharded() else "check_memory = False"
            print(f"memory is not planned: {why}")
            return memory.Fit({}, *memory.available(machine), {})
        fit = memory.check(self.settings, machine, prompt, completion, examples)
        self.note("memory", {name: round(p.total / 1e9, 3) for name, p in fit.plans.items()})
        print(fit)
        fit.require()
        if took := forecast.lesson_time(self.settings, machine, {n: p.job for n, p in fit.plans.items()}, rows):
            self.note("predicted_seconds", {part: round(seconds, 1) for part, seconds in took.seconds.items()})
            print(report.one_line(took))
        return fit

    @property
    def checkpoints(self) -> Path:
        """Where trainers put their checkpoints; complete ones are copied to ``checkpoint_dir``, if that is set."""
        return self._shared / "checkpoints"

    def resume_from(self, name: str = "") -> Path | None:
        """The latest complete checkpoint when ``resume=True``, else None; half-written ones are removed.

        On a new machine it comes from ``checkpoint_dir``.

        Args:
            name: folder below ``checkpoints`` of a further training; "" is the run's main one.

        Raises:
            RunError: ``checkpoint_dir`` cannot be read.
        """
        if not self.settings.as_dict().get("resume"):
            return None
        found = ranks.from_first(lambda: self._newest(name))
        if not name:
            self.note("resumed_from", found.name if found else None)
        return found

    def _newest(self, name: str) -> Path | None:
        if self._mirror is not None:
            self._mirror.fetch()
        folder = self.checkpoints / name
        sweep(folder)
        if self._mirror is not None:
            self._mirror.catch_up(folder)
        return latest_checkpoint(folder)

    def _open_mirror(self) -> Mirror | None:
        mirror = None
        if ranks.first() and (place := kept_in(self.settings)) is not None:
            root, settings = Path(self.settings.checkpoint_dir), records.clean(self.settings)
            mirror = Mirror(self.checkpoints, root, place, settings, self._info["begun"], self.fallback)
            mirror.notes = self._fingerprints()
        watch(self.checkpoints, mirror)
        return mirror

    def finish(self) -> None:
        """Write metrics.json, wall time, energy and peak memory, and set the status to finished.

        Raises:
            AssertionError: on the course's own data a claim of the lesson does not hold; everything is saved.
        """
        self._write_metrics()
        if wrong := claims.failures(self._claims.values()):
            self.close(FAILED, f"AssertionError: {wrong}")
            raise AssertionError(wrong)
        self.close(FINISHED, None)
        info = self._info
        planned = info["notes"].get("memory") if info["peak_cuda_gb"] is not None else None
        memory = peak_memory(info) + (f" (planned {max(planned.values()):.1f} GPU with CUDA's own)" if planned else "")
        took = f"{duration(info['wall_time_s'])}{energy_text(info['energy'])}"
        print(f"finished in {took}, peak {memory}; {short_path(self.folder)}")

    @property
    def status(self) -> str:
        """running, finished, failed or interrupted."""
        return str(self._info["status"])

    def close(self, status: str, error: str | None) -> None:
        """Write how the run ended, with its time, energy and peak memory; ``finish`` does it for one that went well."""
        took = round(time.monotonic() - self._began, 1)
        self._energy.stop()
        self._info["energy"] = self._energy.record()
        self._info.update(status=status, error=error, finished=_now(), wall_time_s=took)
        self._info.update(peak_rss_gb=peak_rss_gb(), peak_cuda_gb=peak_cuda_gb())
        self._write_info()

    def reopen(self) -> None:
        """A run that had failed goes on: its cell was repaired."""
        self._energy.resume()
        self._info.update(status=RUNNING, error=None, finished=None)
        self._write_info()

    def _write_info(self) -> None:
        write_atomic(self.folder / "run.json", records.to_json(self._info) + "\n")


def start(notebook: str, namespace: Mapping[str, Any]) -> Run:
    """Check the parameters, seed, open the run folder, print one screen.

    Args:
        notebook: the notebook's id, e.g. "04_qlora_instruct".
        namespace: its ``globals()``.

    Raises:
        ParameterError, HardwareError: see ``settings.resolve``.
        RunError: the folder cannot be written, belongs to a running process, or does not match ``resume``; one of
            several processes has other settings or packages than the first.
    """
    from helpers.machine import hardware

    began = time.monotonic()
    machine = hardware.probe()
    settings = resolve(notebook, namespace, machine)
    if settings.dtype != "auto":
        machine = dataclasses.replace(machine, dtype=settings.dtype)
    ranks.join(machine.device, machine.gpu_count)
    ranks.agree("settings", records.clean(settings))
    ranks.agree("packages", machine.versions)
    folder, previous = ranks.from_first(lambda: open_folder(settings))
    if settings.offline:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    quieten()
    seed_everything(settings.seed)
    run = Run(settings, machine, folder, previous, began)
    interruption.watch(run)
    if ranks.first() and (pointer := os.environ.get(POINTER)):
        write_atomic(Path(pointer), str(folder))
    print(start_screen(run.settings, machine, folder))
    return run


def _scratch() -> str:
    """A folder that is removed with this process."""
    folder = tempfile.mkdtemp(prefix="peft-lab-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _fingerprint(value: Any) -> str | None:
    """The fingerprint in a note; None where it has none."""
    found = value.get("fingerprint") if isinstance(value, Mapping) else None
    return str(found) if found else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
