"""Export of checkpoints to other runtimes, each with a certificate of measured agreement with PyTorch.

`export_model` writes a folder, `verify_export` checks one again, `open_export` gives the model in it for a `Predictor`.
"""

from typing import TYPE_CHECKING

from encoders.lazy import lazy_exports

if TYPE_CHECKING:
    from encoders.export.certification.certificate import Certificate, read_certificate
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

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "certification.certificate": ("Certificate", "read_certificate"),
            "job": ("ExportRequest", "export_model"),
            "opened": ("ExportedSam", "open_export"),
            "verify": ("verify_export",),
        },
    )
