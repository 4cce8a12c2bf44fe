"""The image encoder contract: input size, normalisation and embedding shape.

An image is `(B, 3, S, S)` float32, SAM-normalised, zero-padded right and below.
An embedding is `(B, 256, S/16, S/16)` float. S is 1024 by default.
Source: segment-anything, `modeling/sam.py` (`Sam.preprocess`) and `build_sam.py`.
"""



from encoders.errors import InputError

EMBED_DIM = 256
STRIDE = 16
MASK_STRIDE = 4  # the mask decoder's logits are S/4 x S/4
IMAGE_SIZE = 1024
SIZE_MULTIPLE = 64
PIXEL_MEAN = (123.675, 116.28, 103.53)  # RGB, 0-255
PIXEL_STD = (58.395, 57.12, 57.375)
MASK_THRESHOLD = 0.0  # logits above it are mask
PREPROCESS_VERSION = "sam-antialias-1"  # a cache made under another version is refused


def check_image_size(image_size: int) -> int:
    """Return `image_size` if it is a positive multiple of 64, else raise InputError naming the nearest ones."""
    if image_size < SIZE_MULTIPLE or image_size % SIZE_MULTIPLE:
        below = max(SIZE_MULTIPLE, image_size // SIZE_MULTIPLE * SIZE_MULTIPLE)
        raise InputError(
            f"image size {image_size} is not a positive multiple of {SIZE_MULTIPLE}; "
            f"use {below} or {below + SIZE_MULTIPLE}"
        )
    return image_size
