"""Encoders that change: their bytes are told apart by the codec's `encoder`, and what earlier ones wrote is read as before."""

import base64
import hashlib

import numpy as np
import pytest

from shards.codec.records import CODECS
from tests.shards.codec.test_codec_int4 import decode, relative_mse, smooth

SCALES_BYTES = 4 * 3 * 8  # of the payloads below: eight channels of 6 x 9 by `smooth`, whose last digits may differ by machine
OF_ENCODER_1 = base64.b85decode(
    "Jvh!j&CE<cjVKR4l+uwt&CE<cA$sh-fFpB0Gcz+kFXK5sgqCkUW@ctT*~g4O^9GYXW@ctTHoD?I!&`SgW@ctT5T1s=0I`ogW@ctTK+cOk2}__p"
    "&CE<cuKLSAO^wM?##d)Exny}tm#esb8{O8o<AKK7i+#8(2$YdcVYSk^GRK2sy2O~o9LW_jOfhk#hK7z}c1-&sCdAQJV#g{T)LNC=naIO+kHH+Z"
    "v~;n4QoXkt)ff4qEhP%)ElsYbVa06X6&~hpYgyLetg-jq=cGbkBppI3!6*mgS~)vzy;>`CsWnqPQ@U85W}YlQ-as7Fhx*$*9gLM2krHFxA4OC&"
    "p_4)K-e{j!2!M7OT>g@PUE;x@5;U#`e?aWb>Oxw5kLISFQp-~$*}~bv_$}+0B_bmtAS59oA|oFj9v&baA0Q$hA0HkYA08kf9vvPZ9v>bXBOV?e"
    "9~vJV9w8hYAr~AQA07"
)
OF_ENCODER_2 = base64.b85decode(
    "sw}oX&CE<ck0=j6ES9G}W@ctTAbRY+N_LGt&CE<cFXK5sqdSm3&CE<c*~g4OePMb&&CE<cG`iwG!&`SgW@ctT5T1s=^c1K*&CE<cKF*6i{3)b9"
    "W@ctTuKLSAK7QFj*H=~}$y8`MshYTd9M0v(^RedXtBvR#7=utvLB+AyB9)|Ly5yMCEyx%_JY`U%c7~2(c1!vqC$-XLL&+K))>@|8iP*z+j<p-L"
    "wR5$8Q@gnt$0+%vEF>AI9DJ^|L)L6zH!bE~TxZtOyR!G(=(8kGL@h&1p;!mRS~)pwoO&r_np9;hRJvz<R<1cNyHP5_cI)?CD|dDzkrY$y4tG{X"
    "v7|xruc<#)2XbXNTi&&DYvjRz5hSe|j8pl$`7>EwuIjaZLzsgj%h%YG=NQVSBqAdsAS59pA|oCi9UdSZA0QzgA0HnbA08kf9~~Ya9v&SWBOf0g"
    "9~vJV9v~bXAsHMRA07"
)


def same_codes(first: bytes, second: bytes) -> float:
    """Share of the code bytes that are equal."""
    one, other = (np.frombuffer(payload, np.uint8)[SCALES_BYTES:] for payload in (first, second))
    return float((one == other).mean())


@pytest.mark.parametrize(("codec", "encoder", "digest"), [("fp16", 1, "72cc6a650a8093ce"), ("int8", 1, "66bad319f2f12b51")])
def test_the_bytes_of_an_encoder_change_only_with_its_number(codec, encoder, digest):
    half = np.random.default_rng(5).integers(-64, 65, (8, 3, 9)).astype(np.float32) / 16
    payload = CODECS[codec].encode(np.concatenate([half, -half], axis=1))
    codes = payload[32:] if codec == "int8" else payload
    assert (CODECS[codec].encoder, hashlib.sha256(codes).hexdigest()[:16]) == (encoder, digest)


def test_the_bytes_of_int4_change_only_with_its_number():
    assert CODECS["int4"].encoder == 2 and same_codes(CODECS["int4"].encode(smooth(8, 6, 9)), OF_ENCODER_2) > 0.97
    assert same_codes(OF_ENCODER_1, OF_ENCODER_2) < 0.95


def test_what_the_first_encoder_of_int4_wrote_is_read_as_exactly():
    raw = smooth(8, 6, 9)
    old, new = (relative_mse(decode(payload, raw.shape), raw) for payload in (OF_ENCODER_1, OF_ENCODER_2))
    assert 0 < old < 1.1 * new < 1e-3  # `cache verify` allows 1 % of the root mean square beyond the codec's own error
