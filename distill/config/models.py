"""Loading the models named in a config, with errors that refer to the config's keys."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import encoders
from distill.config.runs import TeacherConfig
from encoders.errors import InputError

ARCH_OPTION = re.compile(r"(leave arch out or )?(say |with )?arch='(\w+)' \(--arch \w+\)")


def load_teacher(teacher: TeacherConfig) -> encoders.Sam:
    """Load the teacher of a config on the CPU.

    Raises:
        InputError: as `encoders.load`, naming `teacher.model` and, where it is the matter, `teacher.arch`.
    """
    with in_words_of_config("teacher.model", arch_key="teacher.arch", may_be_null=True):
        return encoders.load(teacher.model, arch=teacher.arch, image_size=teacher.image_size, decoder=teacher.decoder)


@contextmanager
def in_words_of_config(key: str, *, arch_key: str, may_be_null: bool = False) -> Iterator[None]:
    """Prefix an InputError of the block with `key`, and replace its advice on `--arch` by the corresponding `--set`.

    Args:
        key: the setting that names the model.
        arch_key: the setting that names its architecture.
        may_be_null: whether the architecture may be left out.
    """
    try:
        yield
    except InputError as error:

        def advice(found: re.Match[str]) -> str:
            null = f"--set {arch_key}=null or " if found[1] and may_be_null else ""
            return f"{found[2] or ''}{null}--set {arch_key}={found[3]}"

        raise InputError(f"{key}: {ARCH_OPTION.sub(advice, str(error))}") from error
