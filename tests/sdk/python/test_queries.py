"""Queries by the service SDK (registry.md)."""

import uuid

import pytest
from azure.iot.hub.models import QuerySpecification, Twin, TwinProperties
from msrest.exceptions import HttpOperationError

HOSTILE = ["'; DROP TABLE twins; --", "' OR '1'='1", '" OR ""="', "\\", "\\' OR 1=1 --", "%s ? :x $1", "é😀"]


def quoted(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@pytest.fixture(scope="module")
def fleet(registry):
    """Seven devices with a tag of their own, in the order of their registration, and its value."""
    site = f"site-{uuid.uuid4()}"
    ids = []
    for n, text in enumerate(HOSTILE):
        device = registry.create_device_with_sas(f"device-{uuid.uuid4()}", "", "", "enabled").device_id
        properties = TwinProperties(desired={"rate": n * 1.5})
        registry.update_twin(device, Twin(tags={"site": site, "n": n, "text": text}, properties=properties), "*")
        ids.append(device)
    return ids, f"tags.site = '{site}'"


def pages(registry, text, size):
    """The pages of a query and their type, as the SDK's samples walk them."""
    found, continuation = [], None
    while True:
        result = registry.query_iot_hub(QuerySpecification(query=text), continuation, size)
        found.append(result.items)
        continuation = result.continuation_token
        if continuation is None:
            return found


def rows(registry, text):
    result = registry.query_iot_hub(QuerySpecification(query=text))
    return [row.additional_properties | plain(row) for row in result.items]


def plain(row):
    return {"deviceId": row.device_id} if row.device_id else {}


def refusal(registry, text, continuation=None):
    with pytest.raises(HttpOperationError) as caught:
        registry.query_iot_hub(QuerySpecification(query=text), continuation)
    assert caught.value.response.status_code == 400
    assert caught.value.response.headers["iothub-errorcode"] == "ArgumentInvalid"
    return caught.value.response.text


def three_pages_of_twins_come_in_the_order_of_registration(registry, fleet):
    ids, mine = fleet
    found = pages(registry, f"SELECT * FROM devices WHERE {mine}", 3)
    assert [len(page) for page in found] == [3, 3, 1]
    twins = [twin for page in found for twin in page]
    assert [twin.device_id for twin in twins] == ids
    assert twins[2].tags["n"] == 2
    assert twins[2].properties.desired["rate"] == 3.0
    assert twins[2].status == "enabled"


def selections_and_groups_are_rows_of_their_own(registry, fleet):
    ids, mine = fleet
    assert rows(registry, f"SELECT deviceId, tags.n * 2 AS twice FROM devices WHERE {mine} AND tags.n >= 5") == [
        {"deviceId": ids[5], "twice": 10},
        {"deviceId": ids[6], "twice": 12},
    ]
    counted = rows(registry, f"SELECT COUNT() AS n, AVG(tags.n) AS mean FROM devices WHERE {mine}")
    assert counted == [{"n": 7, "mean": 3}]
    grouped = rows(registry, f"SELECT tags.site, COUNT() AS n FROM devices WHERE {mine} GROUP BY tags.site")
    assert grouped[0]["n"] == 7


def what_stands_between_quotes_is_data(registry, fleet):
    ids, mine = fleet
    for n, text in enumerate(HOSTILE):
        assert rows(registry, f"SELECT deviceId FROM devices WHERE {mine} AND tags.text = {quoted(text)}") == [
            {"deviceId": ids[n]}
        ], text
    refusal(registry, "SELECT * FROM devices; DROP TABLE twins")


def errors_name_the_character_where_the_query_goes_wrong(registry):
    assert "character 10: expected FROM, found 'FRO'" in refusal(registry, "SELECT * FRO devices")
    assert "there is no ORDER BY" in refusal(registry, "SELECT * FROM devices ORDER BY deviceId")
    assert "not one of this query" in refusal(registry, "SELECT * FROM devices", "made-up")


def nothing_is_an_empty_page_without_a_continuation(registry, fleet):
    assert pages(registry, "SELECT * FROM devices WHERE tags.site = 'nowhere'", 5) == [[]]
