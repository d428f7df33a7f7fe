"""Tables of measured costs: which row prices a layer, and what a bad file is told."""

import json
from fractions import Fraction

import pytest

from precsearch import Budget, BudgetError
from precsearch.errors import DataError
from precsearch.precision.budgets import Footprint
from precsearch.precision.planning import SEARCHED, LayerChoices, make_plan
from precsearch.precision.tables import read_table

HEAD = "layer,type,shape,weight_bits,activation_bits,cost\n"


def table(tmp_path, text, name="costs.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def cost(path, name, kind="Linear", shape=(4, 3), weight=2, activation=4):
    found = read_table(path)
    return Fraction(found.cost(name, kind, shape, weight, activation), found.scale)


class TestRows:
    def test_the_most_specific_row_wins(self, tmp_path):
        path = table(
            tmp_path,
            HEAD
            + ",Linear,,,,1\n,Linear,4x3,,,2\nfc*,,,,,3\nfc1,,,,,4\nfc1,,,2,*,5\nfc1,,,2,4,6\n,Conv2d,,float,,7.25\n",
        )
        assert cost(path, "out", shape=(9, 9)) == 1
        assert cost(path, "out") == 2
        assert cost(path, "fc2") == 3
        assert cost(path, "fc1", weight=3) == 4
        assert cost(path, "fc1", activation=None) == 5
        assert cost(path, "fc1") == 6
        assert cost(path, "conv", "Conv2d", weight=None) == Fraction("7.25")

    def test_json_says_the_same(self, tmp_path):
        rows = [{"layer": "fc", "weight_bits": 2, "cost": 0.1}, {"layer": "fc", "weight_bits": "float", "cost": 3},
                {"type": "Conv2d", "shape": [8, 1, 3, 3], "activation_bits": None, "cost": "1e-3"}]  # fmt: skip
        path = table(tmp_path, json.dumps(rows), "costs.json")
        assert cost(path, "fc") == Fraction(1, 10)
        assert cost(path, "fc", weight=None) == 3
        assert cost(path, "c", "Conv2d", (8, 1, 3, 3)) == Fraction(1, 1000)

    def test_decimals_are_summed_exactly(self, tmp_path):
        """0.1 + 0.2 is 0.3 here, and a limit of 0.3 is kept by it."""
        path = table(tmp_path, "layer,weight_bits,cost\na,2,0.1\na,4,0.7\nb,2,0.2\nb,4,0.9\n")
        choices = [LayerChoices(Footprint(name, 10, 1, 5, 10, type="Linear"), SEARCHED, None) for name in "ab"]
        plan = make_plan(Budget("latency", 0.3, table=str(path)), choices, [2, 4], 0)
        assert plan.problem.feasible.tolist() == [0, 0]
        assert plan.uses(plan.layout.price_at(choices, plan.problem.feasible))[0].achieved == 0.3
        with pytest.raises(BudgetError, match=r"latency cannot be kept at 0\.2999 .*costs 0\.3;"):
            make_plan(Budget("latency", 0.2999, table=str(path)), choices, [2, 4], 0)

    def test_costs_of_many_digits_are_kept_all_the_same(self, tmp_path):
        """Whole numbers of so many digits are not summed exactly in double precision: they round to the safe side."""
        path = table(
            tmp_path, "layer,weight_bits,cost\na,2,0.10000000000000000001\na,4,0.7\nb,2,0.2\nb,4,12345678901.9\n"
        )
        choices = [LayerChoices(Footprint(name, 10, 1, 5, 10), SEARCHED, None) for name in "ab"]
        plan = make_plan(Budget("energy", 12345678902.6, table=str(path)), choices, [2, 4], 0)
        assert plan.loose == () or plan.loose[0].kind == "energy"
        plan = make_plan(Budget("energy", 12345678902.5, table=str(path)), choices, [2, 4], 0)
        assert not plan.problem.keeps_budget(plan.problem.candidates.argmax(1) + 1)


BAD = {
    "unknown column": ("layer,weigth_bits,cost\nfc,2,1\n", [":2:", "'weigth_bits'", "weight_bits"]),
    "negative": ("layer,cost\nfc,1\nfc2,-1\n", [":3:", "number from 0", "'-1'"]),
    "text": ("layer,cost\nfc,fast\n", [":2:", "number from 0", "'fast'"]),
    "infinite": ("layer,cost\nfc,inf\n", [":2:", "'inf'"]),
    "not a number": ("layer,cost\nfc,nan\n", [":2:", "'nan'"]),
    "no cost": ("layer,weight_bits\nfc,2\n", [":2:", "cost must be given"]),
    "cut short": ("layer,weight_bits,cost\nfc,2\n", [":2:", "number from 0"]),
    "too long": ("layer,cost\nfc,2,3\n", [":2:", "more cells"]),
    "no name": ("weight_bits,cost\n2,1\n", [":2:", "`layer` or a `type`"]),
    "two names": ("layer,type,cost\nfc,Linear,1\n", [":2:", "not both"]),
    "bits": ("layer,weight_bits,cost\nfc,two,1\n", [":2:", "weight_bits", "'two'"]),
    "shape": ("type,shape,cost\nLinear,4by3,1\n", [":2:", "64x3x3x3"]),
    "empty": ("", ["is empty"]),
    "only a header": ("layer,cost\n", ["is empty"]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_told_by_line(tmp_path, name):
    text, told = BAD[name]
    path = table(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert all(part in str(caught.value) for part in [str(path), *told]), str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[{]", ":1:3: not valid JSON"),
        ('{"layer": 1}', "list of objects"),
        ('[{"layer": "fc", "cost": NaN}]', "row 1"),
        ("[]", "is empty"),
    ],
)
def test_a_bad_json_file(tmp_path, text, told):
    with pytest.raises(DataError, match=told):
        read_table(table(tmp_path, text, "costs.json"))


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"cannot read the table of costs .*none\.csv: No such file"):
        read_table(tmp_path / "none.csv")


class TestPlans:
    CHOICES = (LayerChoices(Footprint("fc1", 10, 1, 5, 10, type="Linear", shape=(5, 2)), SEARCHED, SEARCHED),
               LayerChoices(Footprint("out", 10, 1, 5, 10, type="Linear", shape=(2, 5)), SEARCHED, 8))  # fmt: skip

    @pytest.mark.parametrize(
        ("rows", "told"),
        [
            ("fc1,,,,,1\nout,,,2,,1\n", r"none for 'out' \(Linear\) at 4 weight bits and 8 activation bits"),
            (
                "fc1,,,2,,1\nfc1,,,,2,2\n,Linear,,,,3\n",
                r"costs\.csv:2 and .*costs\.csv:3 give 'fc1' different costs",
            ),
            ("f1,,,,,1\n,Linear,,,,3\n", r"costs\.csv:2: .* no layer 'f1'; did you mean 'fc1'\?"),
        ],
    )
    def test_what_the_table_does_not_say(self, tmp_path, rows, told):
        path = table(tmp_path, HEAD + rows)
        with pytest.raises(BudgetError, match=told):
            make_plan(Budget("energy", 100.0, table=str(path)), self.CHOICES, [2, 4], 0)

    def test_two_rows_that_agree_are_one(self, tmp_path):
        path = table(tmp_path, HEAD + "fc1,,,2,,1\nfc1,,,,2,1\n,Linear,,,,3\n")
        assert make_plan(Budget("energy", 9.0, table=str(path)), self.CHOICES[:1] * 1, [2, 4], 0).loose

    @pytest.mark.parametrize(
        ("kind", "path", "told"),
        [("latency", None, "must name the file"), ("bitops", "x.csv", "goes with latency and energy")],
    )
    def test_a_table_where_it_is_read(self, kind, path, told):
        with pytest.raises(BudgetError, match=told):
            Budget(kind, 3.0, table=path)
