"""The API's document, the server's route table and what is served at /openapi.json say the same."""
import json

import jsonschema

from roles import ROLES, TABLE
from tresor_client import CONTRACT, run_tresor

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


def document_operations():
    return {(method, path): operation for method, path, _, operation in CONTRACT.operations}


def server_routes():
    return json.loads(run_tresor("serve", "--routes", check=0).stdout)


def test_the_document_and_the_route_table_have_the_same_operations():
    routes = {(r["method"], r["path"]) for r in server_routes() if r["method"] in METHODS}
    described = set(document_operations())
    assert routes - described == set(), "routes that the document lacks"
    assert described - routes == set(), "operations that the server lacks"


def test_the_route_table_names_each_route_once():
    routes = [(r["method"], r["path"]) for r in server_routes()]
    assert len(routes) == len(set(routes))


def test_actions_are_the_same():
    routes = {(r["method"], r["path"]): r["action"] for r in server_routes() if r["method"] in METHODS}
    assert routes == {key: o["x-tresor-action"] for key, o in document_operations().items()}


def test_roles_of_the_document_are_those_of_the_table():
    described = {key: set(o["x-tresor-roles"]) for key, o in document_operations().items()}
    table = {(row.method, row.path): {"public"} if row.public else {r for r in ROLES if row.allows(r)} for row in TABLE}
    assert described == table


def test_what_is_served_is_the_document(anonymous):
    answer = anonymous.raw("GET", "/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].split(";")[0] == "application/json"
    assert answer.json() == CONTRACT.document


def test_operation_ids_are_unique():
    ids = [o["operationId"] for o in document_operations().values()]
    assert len(ids) == len(set(ids))


def test_request_objects_are_closed():
    """Every object that a client sends refuses unknown members, but for the two that are the client's own."""
    open_ones = []

    def walk(schema, place):
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[1]
            if name not in ("RecordData", "TypeSchema"):
                walk(CONTRACT.resolve(schema), name)
            return
        if schema.get("type") == "object" and schema.get("additionalProperties") is not False and place != "RecordPatch/data":
            open_ones.append(place)
        for member, inner in schema.get("properties", {}).items():
            if isinstance(inner, dict):
                walk(inner, f"{place}/{member}")
        if isinstance(schema.get("items"), dict):
            walk(schema["items"], place + "/*")

    for (method, path), operation in document_operations().items():
        for media in operation.get("requestBody", {}).get("content", {}).values():
            walk(media["schema"], f"{method} {path}")
    assert open_ones == []


def test_every_schema_is_a_schema():
    for name, schema in CONTRACT.document["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema), name


def test_examples_of_requests_are_valid():
    for operation in document_operations().values():
        for media in operation.get("requestBody", {}).get("content", {}).values():
            for example in media.get("examples", {}).values():
                CONTRACT.validate(media["schema"], example["value"], operation["operationId"])
