"""What a run's probe takes of its time, by arithmetic."""

from distill.config.probe import ProbeConfig
from distill.jobs.planning.compute_cost import forward_tflop
from distill.jobs.planning.decoding import prompt_tflop
from distill.probe.watch import MOST_TIME


def probe_share(probe: ProbeConfig, *, arch: str, image_size: int, update_tflop: float) -> float:
    """Return the share of a run's products that its probe computes, 0 to 1.

    Args:
        update_tflop: of a process in an update; one process measures while the others wait.
    """
    photo = forward_tflop(arch, image_size=image_size)
    measured = probe.photos * (photo + 2 * probe.prompts * prompt_tflop(image_size=image_size))
    return measured / (measured + probe.every_steps * update_tflop)


def too_often(probe: ProbeConfig, share: float) -> list[str]:
    """Return what to say of a probe that takes too much of a run; empty if it does not."""
    if share <= MOST_TIME:
        return []
    return [
        f"the probe computes {100 * share:.0f} % of all: for less than {100 * MOST_TIME:.0f} % raise probe.every_steps from "
        f"{probe.every_steps}, or lower probe.photos or probe.prompts"
    ]
