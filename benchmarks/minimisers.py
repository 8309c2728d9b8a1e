"""All minimiser probes of one ResNet-18 against the bare passes they need.

    python benchmarks/minimisers.py [--threads 2] [--rounds 5] [--images 1000]

Goal: at most 1.15 times the bare passes, for 1,000 images of 32 px, 5 noise levels x 5 repeats,
5 masks x 5, 5 FGSM steps, 5 sigmas x 25 draws with batch-norm refresh. A round does one fifth of
that, and the same number of bare passes on pixels that are ready in memory: evaluation, training
mode without gradient (the refresh), and forward and backward to the pixels (FGSM). Rounds
alternate, so that a machine that slows down slows both; `processor_ratio` compares processor
seconds, which other programs on the machine hardly touch. The weights are random, which does not
change what a pass costs.
"""

from __future__ import annotations

import argparse
import csv
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional

from xferpipe.config.minimisers import InputProbes, LocalEnergy
from xferpipe.minimisers.energy import local_energy
from xferpipe.minimisers.perturbations import input_probes
from xferpipe.minimisers.probe_images import PixelClassifier, ProbeImages, figures_of
from xferpipe.minimisers.solution import refresh_batch_norm, restored, use_batch_statistics

RESULTS = Path(__file__).parent / "results" / "minimisers.csv"
INPUTS = InputProbes(noise_repeats=1, mask_repeats=1, fgsm_epsilons=(0.01,))
ENERGY = LocalEnergy(draws=5)


def probes(classifier: PixelClassifier, images: ProbeImages, seed: int) -> None:
    """Run one fifth of the probes."""
    input_probes(classifier, images, INPUTS, seed=seed)
    local_energy(
        classifier,
        figures_of({"test": images}),
        ENERGY,
        seed=seed,
        images=len(images),
        refresh=lambda model: refresh_batch_norm(model, images),
    )


def bare(classifier: PixelClassifier, images: ProbeImages) -> dict[str, int]:
    """Run the passes that one fifth of the probes needs, and nothing else."""
    draws = len(ENERGY.sigmas) * ENERGY.draws
    passes = {
        "evaluation": len(INPUTS.noise_levels) + len(INPUTS.mask_sides) + 1 + draws + 1,
        "refresh": draws + 1,
        "gradient": 1,
    }
    batches = list(images)
    classifier.eval()
    with torch.inference_mode():
        for _ in range(passes["evaluation"]):
            for pixels, _ in batches:
                classifier(pixels)
    with restored(classifier), torch.no_grad():
        use_batch_statistics(classifier)
        for _ in range(passes["refresh"]):
            for pixels, _ in batches:
                classifier(pixels)
    for _ in range(passes["gradient"]):
        for pixels, labels in batches:
            pixels = pixels.detach().requires_grad_(True)
            loss = functional.cross_entropy(classifier(pixels), labels, reduction="sum")
            torch.autograd.grad(loss, pixels)
    return passes


def seconds_of(work: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Return wall and processor seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    wall, processor = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    """Measure, print and append one row to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    from torchvision.models import resnet18

    device = torch.device(options.device)
    # Untrained, so that no pass is faster for the sparsity that training brings.
    classifier = PixelClassifier(resnet18(num_classes=10), (0.5,) * 3, (0.25,) * 3).to(device)
    images = ProbeImages(
        torch.randint(0, 256, (options.images, 3, 32, 32), dtype=torch.uint8),
        torch.randint(0, 10, (options.images,)),
        batch_size=250,
        device=device,
    )
    warm_up = ProbeImages(images.images[:250], images.labels[:250], batch_size=250, device=device)
    bare(classifier, warm_up)
    input_probes(classifier, warm_up, INPUTS, seed=0)

    rounds = []
    for number in range(options.rounds):
        works = [lambda number=number: probes(classifier, images, number)]
        works.insert(number % 2, lambda: bare(classifier, images))
        spent = [seconds_of(work, device) for work in works]
        ours, theirs = spent if number % 2 else reversed(spent)
        rounds.append((*ours, *theirs))
        print(f"round {number + 1}: probes {ours[0]:.2f} s, bare passes {theirs[0]:.2f} s")
    wall, processor, bare_wall, bare_processor = (
        sum(column) for column in zip(*rounds, strict=True)
    )
    row = {
        "probes_seconds": round(wall, 3),
        "bare_seconds": round(bare_wall, 3),
        "ratio": round(wall / bare_wall, 4),
        "processor_ratio": round(processor / bare_processor, 4),
        "ratio_lowest": round(min(r[0] / r[2] for r in rounds), 4),
        "ratio_highest": round(max(r[0] / r[2] for r in rounds), 4),
        "images": options.images,
        "rounds": options.rounds,
        "threads": options.threads,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    print(", ".join(f"{name} {value}" for name, value in row.items()))
    new = not RESULTS.exists()
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)


def processor_name() -> str:
    """Return the processor's model, as Linux knows it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
