"""The table of rules: what a source says about the Neural Engine, where it says it, and how reliable it calls itself.

The effect `leaves` means that, according to the source, the operation does not run on the Neural Engine; `costs` means that it
runs there at a cost, or may be moved elsewhere.
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
    """The publication of a rule.

    Attributes:
        name: project and file.
        url: link to the text.
        standing: what kind of text it is, and how reliable its authors call it.
    """

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
    "a developer's observations; the page calls itself incomplete, possibly wrong and partly guesswork",
)


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        name: short name for tables and JSON.
        effect: "leaves" or "costs", see the docstring of this module.
        sentence: what the source says, in one sentence.
        source: where it says so.
        applies: returns whether the rule names an operation of a graph.
    """

    name: str
    effect: Effect
    sentence: str
    source: Source
    applies: Callable[[Operation, Graph], bool]


RULES = (
    Rule("rank above 5", "leaves", "Intermediate tensors of rank 6 or more are rejected.", APPLE, when.rank_above_5),
    Rule("fp32", "leaves", "fp32 falls back to the GPU or CPU.", APPLE, when.float32),
    Rule("other types", "leaves", "The supported types are fp16, int8 and int16.", APPLE, when.other_types),
    Rule("dynamic shape", "leaves", "Shapes must be fully static.", APPLE, when.dynamic_shape),
    Rule(
        "dynamic operation",
        "leaves",
        "A model with enumerated shapes runs on the Neural Engine unless the conversion introduced dynamic layers.",
        FAQ,
        when.dynamic_operation,
    ),
    Rule(
        "palette of rank 6",
        "leaves",
        "Look-up tables of rank 6, which per-channel scales produce, are rejected.",
        APPLE_SEGMENTATION,
        when.palette_rank,
    ),
    Rule("gather", "leaves", "gather is known not to work on the Neural Engine.", HOLLANCE, when.gather),
    Rule("recurrent", "leaves", "RNN layers are known not to work on the Neural Engine.", HOLLANCE, when.recurrent),
    Rule(
        "dilated convolution",
        "leaves",
        "Dilated convolutions are known not to work on the Neural Engine.",
        HOLLANCE,
        when.dilated,
    ),
    Rule(
        "large pooling",
        "leaves",
        "Pooling with a kernel above 13 or a stride above 2 is known not to work on the Neural Engine.",
        HOLLANCE,
        when.large_pool,
    ),
    Rule(
        "large upsampling",
        "leaves",
        "Upsampling by a factor above 2 is known not to work on the Neural Engine.",
        HOLLANCE,
        when.large_upsampling,
    ),
    Rule(
        "channel broadcast",
        "leaves",
        "Certain broadcasting operations do not work on the Neural Engine, e.g. multiplying C x H x W by C x 1 x 1.",
        HOLLANCE,
        when.channel_broadcast,
    ),
    Rule(
        "linear layer",
        "costs",
        "Linear layers are decomposed into less efficient operations that may fall back to the CPU; 1x1 convolutions are not.",
        APPLE,
        when.linear,
    ),
    Rule(
        "decomposed normalisation",
        "costs",
        "A normalisation that is one operation maps better to the hardware than its decomposed parts.",
        APPLE,
        when.split_layer_norm,
    ),
    Rule(
        "softmax over space",
        "costs",
        "A softmax over height or width limits how the work can be split, which matters for large tensors.",
        APPLE,
        when.softmax_over_space,
    ),
    Rule("convolution stride", "costs", "Strides that are not products of 2 and 3 have overhead.", APPLE, when.conv_stride),
    Rule(
        "palettised stride",
        "costs",
        "Convolutions with palettised kernels support strides only up to 2.",
        APPLE,
        when.palette_stride,
    ),
    Rule(
        "large kernel",
        "costs",
        "Large kernels are expensive (the source names no limit; its bad example is 9 x 9).",
        APPLE,
        when.large_kernel,
    ),
    Rule(
        "large dilation",
        "costs",
        "Large dilations are expensive; chains of dilations 2 and 3 are not.",
        APPLE,
        when.strongly_dilated,
    ),
    Rule("pooling stride", "costs", "Pooling strides other than 2 and 4 have overhead.", APPLE, when.pool_stride),
    Rule(
        "unaligned interface",
        "costs",
        "The last axis of inputs and outputs must be a multiple of 64 bytes, or it is padded to one.",
        APPLE,
        when.misaligned_interface,
    ),
    Rule(
        "unaligned last axis",
        "costs",
        "A last axis that is not a multiple of 64 bytes is padded to one, except perhaps in the L2 cache.",
        APPLE,
        when.misaligned_last_axis,
    ),
    Rule(
        "singleton last axis",
        "costs",
        "A last axis of size 1 is padded to 64 bytes, 32 times its memory in fp16.",
        APPLE,
        when.singleton_last_axis,
    ),
    Rule(
        "moved last axis",
        "costs",
        "Reshapes and transposes that change the last axis rewrite the whole tensor in memory.",
        APPLE,
        when.moves_last_axis,
    ),
)
