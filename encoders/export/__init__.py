"""From a checkpoint to files that other runtimes execute, each with a certificate of what it computes.

`export_model` writes a folder, `verify_export` checks one again, `open_export` gives the model in it for a `Predictor`.
"""

from encoders.export.certificate import Certificate, read_certificate
from encoders.export.job import ExportRequest, export_model
from encoders.export.opened import ExportedSam, open_export
from encoders.export.verify import verify_export

__all__ = [
    "Certificate",
    "ExportRequest",
    "ExportedSam",
    "export_model",
    "open_export",
    "read_certificate",
    "verify_export",
]
