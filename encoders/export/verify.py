"""Verification of an exported folder on any machine: checksums, then the artefact against its stored reference."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from encoders.errors import InputError, MissingExtra
from encoders.export.certification.certificate import Certificate, RuntimeRecord, read_certificate
from encoders.export.certification.comparison import compare
from encoders.export.certification.reference import read_reference
from encoders.export.certification.thresholds import least_precision, thresholds_for
from encoders.export.folder import file_records
from encoders.export.opened import open_export
from encoders.predictor import Predictor
from encoders.samples.sample import Sample


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Result of `verify_export`.

    Attributes:
        certificate: of the folder.
        runtime: what the artefact computed here; "not run here" where its runtime is not installed.
        missing: why it did not run; None where it did.
    """

    certificate: Certificate
    runtime: RuntimeRecord
    missing: str | None = None


def verify_export(folder: Path, samples: Sequence[Sample], *, threads: int | None = None) -> Verification:
    """Check a folder that `export_model` made.

    Args:
        samples: the photos that the certificate was made of; others among them are ignored.

    Raises:
        InputError: the folder is no finished export, a file is missing, added or changed, a photo is missing or has other
            pixels, or the artefact falls below the certificate's thresholds.
    """
    certificate = read_certificate(folder)
    check_files(folder, certificate)
    reference = read_reference(folder)
    if {photo.key: photo.sha256 for photo in reference.photos} != certificate.photos:
        raise InputError(f"{folder}: its reference is of other photos than its certificate; export the model again")
    images = {sample.key: sample.image for sample in samples if sample.key in certificate.photos}
    if absent := [photo.key for photo in reference.photos if photo.key not in images]:
        named = ", ".join(absent[:5])
        raise InputError(f"the certificate was made of photos that are not given: {named}; give them with --photos")
    try:
        model = open_export(folder, threads=threads)
    except MissingExtra as error:
        record = RuntimeRecord(name=certificate.format, how="not run here", precision=None, measures=None)
        return Verification(certificate=certificate, runtime=record, missing=str(error))
    measures = compare(Predictor(model), reference, images)
    least = least_precision(certificate.precision, model.runtime.precision)
    subject = certificate.model
    thresholds = (certificate.thresholds, thresholds_for(least, trained=subject.trained, layers=subject.layers))
    if failures := list(dict.fromkeys(failure for one in thresholds for failure in one.failures(measures))):
        raise InputError(f"{folder} by {model.runtime.name} does not give what its certificate says: {'; '.join(failures)}")
    runtime = model.runtime
    return Verification(
        certificate=certificate,
        runtime=RuntimeRecord(name=runtime.name, how=runtime.how, precision=runtime.precision, measures=measures),
    )


def check_files(folder: Path, certificate: Certificate) -> None:
    """Compare every file with the certificate.

    Raises:
        InputError: one is missing, added or changed; says which.
    """
    found = file_records(folder)
    for what, names in (
        ("is missing", certificate.files.keys() - found.keys()),
        ("is not of the export", found.keys() - certificate.files.keys()),
        ("was changed", {n for n in found.keys() & certificate.files.keys() if found[n] != certificate.files[n]}),
    ):
        if names:
            raise InputError(f"{folder}: {sorted(names)[0]} {what}; export the model again")
