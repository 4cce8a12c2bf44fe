"""Every registry model in every format that is installed, certified by the job. About 12 minutes on two cores at 128 px."""

import pytest

from encoders.errors import MissingExtra
from encoders.export import ExportRequest, export_model
from encoders.export.formats import FORMATS
from encoders.export.untrained import untrained_subject
from encoders.image_encoders.repvit import REPVIT_SIZES

MODELS = [*REPVIT_SIZES, "tiny_vit", "sam_vit_b", "sam_demo"]


@pytest.mark.slow
@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_with_random_weights_is_certified(name, format_, export_photos, tmp_path):
    request = ExportRequest(
        sam=untrained_subject(name, image_size=128),
        out=tmp_path / "out",
        format=format_,
        samples=export_photos,
        weights=f"untrained {name}",
        trained=False,
    )
    try:
        certificate = export_model(request)
    except MissingExtra as error:
        pytest.skip(str(error))
    measured = [runtime for runtime in certificate.runtimes if runtime.measures is not None]
    assert measured and certificate.model.arch == name and not certificate.model.trained
