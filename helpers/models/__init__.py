"""Models: finding, loading, quantising and counting them. torch is imported on first use only."""

from __future__ import annotations

from helpers.models.heads import label_token_ids, load_classifier
from helpers.models.load import (
    LoadedModel,
    ModelSource,
    fingerprint,
    load,
    load_tokenizer,
    read_weight,
    resolve_model,
    weights_folder,
)
from helpers.models.quantize import (
    QUANTISATIONS,
    ParameterCount,
    count_parameters,
    guard_cpu_kernels,
    quantisation_config,
)
from helpers.models.unpacked import dequantised_weight
