"""How many directions an update uses: spectra, penalties that make them fewer, and cutting afterwards.

A LoRA layer computes W x + s · B A x with A ``(r, in)``, B ``(out, r)`` and a scale s; its update is ΔW = s · B A.
Nothing here forms ΔW where its two factors are known.
"""

from helpers.adapters.low_rank.penalties import PENALTIES, NuclearNorm, Penalised, adalora_orthogonality
from helpers.adapters.low_rank.spectra import (
    effective_rank,
    factors,
    of_difference,
    of_lora,
    share_of_energy,
    stable_rank,
)
from helpers.adapters.low_rank.truncation import truncated
from helpers.adapters.low_rank.variants import AllocateRank, reason_against
