"""What a GPU could do at most, and how much of it a rate of samples is."""

import torch

# Dense matrix products at full clock, in 10¹² operations a second, from NVIDIA's data sheets; fp32 is what torch uses
# for it by default, without TF32. By a part of the name that torch gives.
PEAK_TFLOPS = {
    "H200": {"bf16": 989.0, "fp32": 67.0},
    "H100 PCIe": {"bf16": 756.0, "fp32": 51.0},
    "H100": {"bf16": 989.0, "fp32": 67.0},
    "A100": {"bf16": 312.0, "fp32": 19.5},
    "L40S": {"bf16": 362.0, "fp32": 91.6},
    "L4": {"bf16": 121.0, "fp32": 30.3},
    "A10": {"bf16": 125.0, "fp32": 31.2},
    "RTX 4090": {"bf16": 165.2, "fp32": 82.6},
    "RTX 3090": {"bf16": 71.0, "fp32": 35.6},
}


def gpu_facts() -> dict[str, object]:
    """Name and memory of the first GPU."""
    properties = torch.cuda.get_device_properties(0)
    return {"gpu": properties.name, "gpu_memory_gib": round(properties.total_memory / 2**30, 1)}


def peak_flops(name: str, precision: str) -> float | None:
    """Operations a second that this GPU does at most; None where it is not known."""
    peak = next((peaks[precision] for part, peaks in PEAK_TFLOPS.items() if part in name), None)
    return None if peak is None else peak * 1e12


def utilisation(rate: float, flops: float, peak: float) -> float:
    """Model FLOP utilisation (Chowdhery et al. 2022, appendix B): `rate` samples/s of `flops` each over the peak."""
    return rate * flops / peak
