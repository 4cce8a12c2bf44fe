"""The rules, in one table: what a source says of the Neural Engine, where it says so, and how sure it is of itself.

`leaves`: the source says that the operation is not run there. `costs`: it runs there, at a price, or may be moved.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from encoders.export.device_lint import predicates as when
from encoders.export.device_lint.graph import Graph
from encoders.export.mil.program import Operation

Effect = Literal["leaves", "costs"]


@dataclass(frozen=True)
class Source:
    """Where a rule is written, and how its authors label it."""

    name: str
    url: str
    standing: str


APPLE = Source(
    "apple/coreai-models, neural_engine_rules.md",
    "https://github.com/apple/coreai-models/blob/86b363d/skills/skills/model-authoring/references/neural_engine_rules.md",
    "Apple's rules for authoring Core AI models",
)
APPLE_SEGMENTATION = Source(
    "apple/coreai-models, segmentation/pipeline.py",
    "https://github.com/apple/coreai-models/blob/86b363d/python/src/coreai_models/segmentation/pipeline.py",
    "a comment in Apple's export code for Core AI",
)
FAQ = Source(
    "coremltools, FAQ",
    "https://apple.github.io/coremltools/docs-guides/source/faqs.html#neural-engine-with-flexible-input-shapes",
    "Apple's documentation of Core ML",
)
HOLLANCE = Source(
    "hollance/neural-engine, unsupported-layers.md",
    "https://github.com/hollance/neural-engine/blob/d0bb530/docs/unsupported-layers.md",
    "observations of a developer; calls itself incomplete and possibly wrong, some of it guesses",
)


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        name: for tables and JSON.
        effect: see the module.
        sentence: what the source says, in short.
        applies: whether it names an operation.
    """

    name: str
    effect: Effect
    sentence: str
    source: Source
    applies: Callable[[Operation, Graph], bool]


RULES = (
    Rule("rank above 5", "leaves", "Intermediates of rank 6 and more are rejected.", APPLE, when.rank_above_5),
    Rule("fp32", "leaves", "fp32 falls back to GPU or CPU.", APPLE, when.float32),
    Rule("other types", "leaves", "The supported types are fp16, int8 and int16.", APPLE, when.other_types),
    Rule("dynamic shape", "leaves", "Shapes have to be fully static.", APPLE, when.dynamic_shape),
    Rule(
        "dynamic operation",
        "leaves",
        "A model with enumerated shapes runs there, unless the conversion introduced dynamic layers.",
        FAQ,
        when.dynamic_operation,
    ),
    Rule(
        "palette of rank 6",
        "leaves",
        "Look-up tables of rank 6, as scales for each channel make them, are rejected.",
        APPLE_SEGMENTATION,
        when.palette_rank,
    ),
    Rule("gather", "leaves", "gather is known to not work there.", HOLLANCE, when.gather),
    Rule("recurrent", "leaves", "RNN layers are known to not work there.", HOLLANCE, when.recurrent),
    Rule("dilated convolution", "leaves", "Dilated convolutions are known to not work there.", HOLLANCE, when.dilated),
    Rule(
        "large pooling",
        "leaves",
        "Pooling with a kernel above 13 or a stride above 2 is known to not work there.",
        HOLLANCE,
        when.large_pool,
    ),
    Rule(
        "large upsampling",
        "leaves",
        "Upsampling by more than 2 is known to not work there.",
        HOLLANCE,
        when.large_upsampling,
    ),
    Rule(
        "channel broadcast",
        "leaves",
        "Certain broadcasting operations do not work there, e.g. multiplying C x H x W by C x 1 x 1.",
        HOLLANCE,
        when.channel_broadcast,
    ),
    Rule(
        "linear layer",
        "costs",
        "Linear layers are decomposed into less efficient operations that may fall back to the CPU; a 1x1 convolution is not.",
        APPLE,
        when.linear,
    ),
    Rule(
        "decomposed normalisation",
        "costs",
        "A normalisation as one operation is mapped better than its parts.",
        APPLE,
        when.split_layer_norm,
    ),
    Rule(
        "softmax over space",
        "costs",
        "A softmax over height or width limits how work is split; it matters where tensors are large.",
        APPLE,
        when.softmax_over_space,
    ),
    Rule("convolution stride", "costs", "Strides other than products of 2 and 3 have overhead.", APPLE, when.conv_stride),
    Rule(
        "palettised stride",
        "costs",
        "With palettised kernels strides are supported up to 2.",
        APPLE,
        when.palette_stride,
    ),
    Rule(
        "large kernel",
        "costs",
        "Large kernels are expensive (its bad example has 9 a side; it gives no bound).",
        APPLE,
        when.large_kernel,
    ),
    Rule("large dilation", "costs", "Large dilations are expensive; chains of 2 and 3 are not.", APPLE, when.strongly_dilated),
    Rule("pooling stride", "costs", "Pooling strides other than 2 and 4 have overhead.", APPLE, when.pool_stride),
    Rule(
        "unaligned interface",
        "costs",
        "The last axis of inputs and outputs has to be a multiple of 64 bytes, or is padded to one.",
        APPLE,
        when.misaligned_interface,
    ),
    Rule(
        "unaligned last axis",
        "costs",
        "A last axis that is no multiple of 64 bytes is padded to one, except perhaps in the L2 cache.",
        APPLE,
        when.misaligned_last_axis,
    ),
    Rule(
        "singleton last axis",
        "costs",
        "A last axis of 1 is padded to 64 bytes: 32 times its memory in fp16.",
        APPLE,
        when.singleton_last_axis,
    ),
    Rule(
        "moved last axis",
        "costs",
        "Reshapes and transposes that touch the last axis force a full rewrite in memory.",
        APPLE,
        when.moves_last_axis,
    ),
)
