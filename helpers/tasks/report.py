"""What was read from a source, and what became of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class LoadReport:
    """What was read, what was thrown away and why, and what is left."""

    task: str
    source: str
    rows_read: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    duplicates_removed: int = 0
    near_duplicates_removed: int = 0
    usable: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    licence: str = ""
    fingerprint: str = ""
    notes: list[str] = field(default_factory=list)
    remarks: dict[str, int] = field(default_factory=dict)  # what holds for some rows that are kept → how many
    examples: dict[str, str] = field(default_factory=dict)  # reason → a row that was dropped for it, shortened

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name not in ("examples", "remarks")}

    def losses(self) -> str:
        """Why rows are gone, most frequent reason first, and one of them: "90 no steps, such as {...}"; "" for none."""
        copies = {"exact duplicates": self.duplicates_removed, "near-duplicates": self.near_duplicates_removed}
        counted = sorted((self.dropped | copies).items(), key=lambda item: -item[1])
        said = "; ".join(f"{count:,} {reason}" for reason, count in counted if count)
        example = next((self.examples[reason] for reason, _ in counted if reason in self.examples), "")
        return f"{said}, such as {example}" if said and example else said

    def note_rows(self, share: float = 0.05) -> None:
        """Note each remark with its count, and each reason for which more than ``share`` of all rows are gone."""
        self.notes += [f"{count:,} rows have {remark}" for remark, count in self.remarks.items()]
        for reason, count in sorted(self.dropped.items(), key=lambda item: -item[1]):
            if count > share * self.rows_read > 0:
                such = f", such as {self.examples[reason]}" if reason in self.examples else ""
                part = f"{count:,} of {self.rows_read:,} rows ({count / self.rows_read:.0%})"
                self.notes.append(f"MANY ROWS ARE NOT USED: {part}: {reason}{such}")

    def __str__(self) -> str:
        dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(self.dropped.items()))
        lines = [
            f"{self.task} from {self.source}: {self.rows_read:,} rows read",
            f"  dropped: {dropped or 'none'}; exact duplicates {self.duplicates_removed}, "
            f"near-duplicates {self.near_duplicates_removed}; usable {self.usable:,}",
            "  splits: " + ", ".join(f"{name} {size:,}" for name, size in self.sizes.items()),
        ]
        lines += [f"  note: {note}" for note in self.notes]
        if self.licence:
            lines.append(f"  licence: {self.licence}")
        lines.append(f"  fingerprint: {self.fingerprint}")
        return "\n".join(lines)
