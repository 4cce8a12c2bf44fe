from encoders.messages.words import counted


def test_one_is_not_said_as_many():
    assert [counted(count, "photo") for count in (0, 1, 2)] == ["0 photos", "1 photo", "2 photos"]
    assert [counted(count, "category", plural="categories") for count in (1, 3)] == ["1 category", "3 categories"]
