"""``schema.json`` from outside: what is sealed is read back, and nothing that no server could use is taken."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.bundle import BundleError
from serving.bundle.tables import MOST_PARAMETERS, CategoryColumn, NumericColumn, Schema
from tests.support.table_schemas import number, people, schemas

AGE, WORK, HEIGHT, JOINED = 1, 3, 4, 6


@given(schemas())
@settings(max_examples=40, deadline=None)
def test_a_schema_is_read_back(schema):
    """Equal, to the last bit of every number."""
    assert Schema.parse(schema.to_bytes()) == schema


@given(schemas())
@settings(max_examples=20, deadline=None)
def test_every_parameter_has_one_owner(schema):
    """Spans follow one another through all P of them."""
    spans = list(schema.spans.values())
    assert [span.start for span in spans] == [0, *(span.stop for span in spans[:-1])]
    assert spans[-1].stop == schema.parameters


def changed(**paths):
    """The document of a good schema with other values at these places, given as column__key__… ."""
    document = json.loads(people().to_bytes())
    for path, value in paths.items():
        *keys, last = path.split("__")
        inner = document
        for key in keys:
            inner = inner[int(key[1:]) if key[0] == "c" and key[1:].isdigit() else key]
        if value is None:
            inner.pop(last)
        else:
            inner[last] = value
    return json.dumps(document).encode()


COLUMN = "columns__c{}__{}"


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "want an object with format 1"),
        (changed(format=2), "want an object with format 1, came 2"),
        (changed(format=True), "came True"),
        (changed(columns=[]), "columns"),
        (changed(label="age"), "label 'age': want the name of a category or boolean column"),
        (changed(orders=[["joined", "age"]]), "of one kind"),
        (changed(orders=[["joined", "nobody"]]), "want two numeric or timestamp columns"),
        (changed(orders=[["left", "joined"]]), "bounds of 'left' at most"),
        (changed(orders=[["joined", "joined"]]), "want two numeric"),
        (changed(more=1), "more: Extra inputs"),
        (changed(columns__c1__name="work"), "names must differ"),
        (changed(columns__c1__name="a\nb"), "columns.1.numeric.name"),
        (changed(columns__c1__name="a" * 129), "columns.1.numeric.name"),
        (changed(columns__c1__type="text"), "columns.1"),
        (changed(columns__c1__nullable=None), "columns.1.numeric.nullable"),
        (changed(columns__c1__bounds=[90, 17]), "want the smaller first"),
        (changed(columns__c1__bounds=[17.5, 90]), "want multiples of 1"),
        (changed(columns__c1__decimals=2), "decimals"),
        (changed(columns__c1__bounds=[-(2.0**60), 2.0**60]), "bounds: want at most"),
        (changed(columns__c1__scale__knots=[1, 1]), "knots: want each greater"),
        (changed(columns__c1__scale__scores=[1, 0]), "scores: want each greater"),
        (changed(columns__c1__scale__scores=[1]), "as many scores as knots"),
        (changed(columns__c1__scale__knots=[0, 1e101]), "columns.1.numeric.scale.knots.1"),
        (changed(columns__c1__scale__width=0), "columns.1.numeric.scale.width"),
        (changed(columns__c1__bins__edges=[16.5, 30.5, 30.5, 90.5]), "edges: want each greater"),
        (changed(columns__c1__bins__edges=[16.5, 30.5]), "as many least and most as bins"),
        (changed(columns__c1__bins__least=[17, 30, 61]), "edge <= least <= most <= next edge"),
        (changed(columns__c3__categories=["a", "a"]), "categories: want each once"),
        (changed(columns__c3__categories=[]), "categories"),
        (changed(columns__c3__categories=[str(i) for i in range(10_001)]), "categories"),
        (changed(columns__c5__words=["no", "NO"]), "want two different"),
        (changed(columns__c6__resolution=7), "want one of 86400"),
        (changed(columns__c6__zone="utc"), "zone: want local of dates"),
        (changed(columns__c6__bounds=[0, 86400.0 * 10_000_000]), "want the years 1 to 9999"),
        (changed(columns__c2__value=[1]), "columns.2.constant.value"),
        (changed(columns__c0__step=0), "columns.0.identifier.step"),
        (b'{"format": 1, "columns": [{"type": "constant", "name": "a", "value": 1}]}', "want at least one"),
        (changed().replace(b'"width": 15.0', b'"width": NaN'), "width"),
    ],
)  # fmt: skip
def test_what_is_no_schema_is_refused(content, wanted):
    """In one line that names the key."""
    with pytest.raises(BundleError) as refused:
        Schema.parse(content)
    assert wanted in str(refused.value)
    assert "\n" not in str(refused.value)


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(repr).map(str.encode)
)
@settings(max_examples=50, deadline=None)
def test_any_bytes_are_refused(content):
    """Never another error than that of a bundle."""
    with pytest.raises(BundleError):
        Schema.parse(content)


def test_orders_in_a_circle_are_refused():
    """Also through several pairs."""
    three = tuple(number(name, [0, 1]) for name in "abc")
    with pytest.raises(ValueError, match="no circle"):
        Schema(columns=three, orders=(("a", "b"), ("b", "c"), ("c", "a")))


def test_too_many_parameters_are_refused():
    """Before a network of that size is made."""
    many = tuple(str(place) for place in range(10_000))
    columns = [CategoryColumn(name=f"c{i}", nullable=False, categories=many, rest=False) for i in range(14)]
    assert len(many) * 14 > MOST_PARAMETERS
    with pytest.raises(ValueError, match="want at most 131072 parameters, came 140000"):
        Schema(columns=tuple(columns))


def test_ten_thousand_columns_are_a_table():
    """As many as are allowed; parsed within seconds."""
    columns = tuple(number(f"n{place}", [0, 1, 2]) for place in range(10_000))
    schema = Schema.parse(Schema(columns=columns).to_bytes())
    assert len(schema.modelled) == 10_000
    assert isinstance(schema.columns[9_999], NumericColumn)
    with pytest.raises(ValueError, match="columns"):
        Schema(columns=(*columns, number("more", [0, 1])))
