from eval_zeroshot.report.cases import Case, worst_and_median


def names(cases):
    return [case.name for case in cases]


def test_the_worst_and_the_median_of_five():
    cases = [Case(name=name, value=value) for name, value in zip("abcde", (0.9, 0.1, 0.5, 0.7, 0.3), strict=True)]
    worst, median = worst_and_median(cases, count=4)
    assert names(worst) == ["b"] and names(median) == ["c"]


def test_as_many_as_wanted_where_there_are_enough():
    cases = [Case(name=number, value=number / 20) for number in range(20)]
    worst, median = worst_and_median(cases, count=4)
    assert names(worst) == [0, 1, 2, 3] and names(median) == [8, 9, 10, 11]  # 19 / 2 = 9.5 lies in the middle


def test_where_lower_is_better_the_highest_is_the_worst():
    cases = [Case(name=number, value=number) for number in range(3)]
    assert names(worst_and_median(cases, count=1, higher_is_better=False)[0]) == [2]


def test_of_equally_bad_ones_the_larger_comes_first():
    cases = [Case(name="small", value=0.0, area=10), Case(name="large", value=0.0, area=90), Case(name="good", value=1.0)]
    assert names(worst_and_median(cases, count=1)[0]) == ["large"]


def test_nothing_is_shown_twice_and_nothing_is_needed():
    one = [Case(name="a", value=0.5)]
    assert [names(found) for found in worst_and_median(one, count=4)] == [["a"], []]
    assert worst_and_median([], count=4) == ([], [])


def test_the_worst_come_from_as_many_photos_as_there_are():
    values = {("a", 1): 0.0, ("a", 2): 0.01, ("a", 3): 0.02, ("b", 1): 0.3, ("c", 1): 0.4, ("c", 2): 0.9}
    cases = [Case(name=name, value=value, photo=name[0]) for name, value in values.items()]
    cases += [Case(name=("c", number), value=0.95, photo="c") for number in range(3, 9)]
    worst, _ = worst_and_median(cases, count=3)
    assert names(worst) == [("a", 1), ("b", 1), ("c", 1)]
    worst, _ = worst_and_median(cases, count=4)
    assert names(worst) == [("a", 1), ("a", 2), ("b", 1), ("c", 1)]  # a second of one photo where photos run out


def test_median_cases_are_of_several_photos_too():
    cases = [Case(name=number, value=number / 20, photo="a" if 8 <= number <= 11 else number) for number in range(20)]
    assert names(worst_and_median(cases, count=3)[1]) == [7, 9, 12]


def test_of_two_there_is_no_median():
    assert worst_and_median([Case(name=number, value=number) for number in range(2)], count=4)[1] == []
