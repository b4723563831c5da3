"""The simulated user and product services: valid responses and every fault."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.python.support.upstream_services import Kind, UpstreamServices
from tests.python.support.waiting import eventually

SHORT_S = 0.3
ID = "66f1a2b3c4d5e6f708192a3b"


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=10) as opened:
        yield opened


def test_rest_answers_with_a_product_as_the_result_or_bare(
    upstream: UpstreamServices, client: httpx.Client
) -> None:
    upstream.set_product(ID, price=19.99, stock=3)
    product = {"_id": ID, "price": 19.99, "quantity": 3}
    assert client.get(f"{upstream.products_url}/{ID}").json() == {"result": product}
    upstream.answer_bare()
    assert client.get(f"{upstream.products_url}/{ID}").json() == product
    upstream.remove_product(ID)
    assert client.get(f"{upstream.products_url}/{ID}").status_code == 404


def test_rest_knows_users(upstream: UpstreamServices, client: httpx.Client) -> None:
    upstream.add_user("a b/ä")
    known = client.get(f"{upstream.users_url}/a%20b%2F%C3%A4")
    assert (known.status_code, known.json()) == (200, {"result": {"_id": "a b/ä"}})
    assert client.get(f"{upstream.users_url}/nobody").status_code == 404


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("query ($ids: [ID!]!) { productByIds(ids: $ids) { id price stock } }", {"ids": ["2", ID]}),
        (f'{{ productByIds(ids: ["2", "{ID}"]) {{ id price stock }} }}', {}),
    ],
)
def test_graphql_requires_a_token(
    upstream: UpstreamServices, client: httpx.Client, query: str, variables: object
) -> None:
    upstream.set_product(ID, price=0.1, stock=0)
    upstream.set_product("1")
    upstream.accept_token("right")
    question = {"query": query, "variables": variables}

    def answer(**headers: str) -> object:
        return client.post(upstream.graphql_url, json=question, headers=headers).json()

    # Unknown products are omitted.
    expected = {"data": {"productByIds": [{"id": ID, "price": 0.1, "stock": 0}]}}
    assert answer(Authorization="Bearer right") == expected
    refused = {"data": None, "errors": [{"message": "Not authenticated"}]}
    assert answer() == refused
    for wrong in ("Bearer wrong", "Basic right", "right"):
        assert answer(Authorization=wrong) == refused


def test_graphql_refuses_other_queries(upstream: UpstreamServices, client: httpx.Client) -> None:
    upstream.accept_token("right")
    headers = {"Authorization": "Bearer right"}
    answer = client.post(upstream.graphql_url, json={"query": "{ x }"}, headers=headers)
    assert answer.status_code == 400


def test_calls_are_recorded(upstream: UpstreamServices, client: httpx.Client) -> None:
    client.get(f"{upstream.users_url}/1", headers={"Authorization": "Bearer t"})
    client.post(upstream.graphql_url, content=b"{}")
    httpx.get(f"{upstream.users_url}/2", trust_env=False)
    first, second, third = upstream.calls()
    assert (first.method, first.path, first.headers["authorization"]) == (
        "GET",
        "/users/1",
        "Bearer t",
    )
    assert (second.method, second.path, second.body) == ("POST", "/graphql", "{}")
    assert first.connection == second.connection != third.connection
    assert first.at_s < second.at_s < third.at_s
    assert upstream.calls("/users") == [first, third]


def test_a_fault_applies_to_its_path_and_its_number_of_calls(
    upstream: UpstreamServices, client: httpx.Client
) -> None:
    upstream.add_user("1")
    upstream.set_product("1")
    upstream.misbehave("status", calls=2, path="/users", status=503)
    products = [client.get(f"{upstream.products_url}/1").status_code for _ in range(3)]
    users = [client.get(f"{upstream.users_url}/1").status_code for _ in range(3)]
    assert (products, users) == ([200, 200, 200], [503, 503, 200])
    upstream.misbehave("status")
    assert client.get(f"{upstream.users_url}/1").status_code == 500
    upstream.behave()
    assert client.get(f"{upstream.users_url}/1").status_code == 200


def test_malformed_responses(upstream: UpstreamServices, client: httpx.Client) -> None:
    upstream.add_user("1")

    def answer(kind: Kind) -> httpx.Response:
        upstream.behave()
        upstream.misbehave(kind)
        return client.get(f"{upstream.users_url}/1")

    moved = answer("redirect")
    assert (moved.status_code, moved.headers["location"]) == (302, "/moved/users/1")
    upstream.behave()
    assert client.get(f"{upstream.url}/moved/users/1").json() == {"result": {"_id": "1"}}
    assert answer("html").headers["content-type"] == "text/html"
    garbage = answer("garbage")
    assert garbage.status_code == 200
    with pytest.raises(ValueError, match="Unterminated"):
        garbage.json()
    assert answer("other id").json() == {"result": {"_id": "f" * 24}}
    with pytest.raises(httpx.RemoteProtocolError):
        answer("cut")


def test_a_slow_response_is_correct(upstream: UpstreamServices, client: httpx.Client) -> None:
    upstream.add_user("1")
    upstream.misbehave("slow", delay_s=SHORT_S)
    answer = client.get(f"{upstream.users_url}/1")
    assert answer.status_code == 200
    assert answer.elapsed.total_seconds() >= SHORT_S


def test_a_hanging_service_sends_nothing(upstream: UpstreamServices, client: httpx.Client) -> None:
    upstream.misbehave("hang")
    with pytest.raises(httpx.ReadTimeout):
        client.get(f"{upstream.users_url}/1", timeout=SHORT_S)
    eventually(lambda: upstream.bytes_until_left() == [0], "the client has left")


@pytest.mark.parametrize("kind", ["huge", "endless", "trickle"])
def test_an_endless_response_lasts_until_the_client_disconnects(
    upstream: UpstreamServices, client: httpx.Client, kind: Kind
) -> None:
    upstream.misbehave(kind)
    with client.stream("GET", f"{upstream.products_url}/1") as answer:
        assert answer.status_code == 200
        assert ("content-length" in answer.headers) == (kind != "endless")
        pieces = answer.iter_bytes()
        assert {*next(pieces), *next(pieces)} == {ord(" ")}
    assert eventually(upstream.bytes_until_left, "the client has left")[0] >= 2


@pytest.mark.parametrize("how", [UpstreamServices.stop, UpstreamServices.kill])
def test_a_stopped_service_refuses_connections_and_restarts_unchanged(
    upstream: UpstreamServices, client: httpx.Client, how: Callable[[UpstreamServices], None]
) -> None:
    upstream.add_user("1")
    assert client.get(f"{upstream.users_url}/1").status_code == 200
    how(upstream)
    with pytest.raises(httpx.TransportError):
        client.get(f"{upstream.users_url}/1")
    with pytest.raises(httpx.ConnectError):
        client.get(f"{upstream.users_url}/1")
    upstream.start()
    assert client.get(f"{upstream.users_url}/1").status_code == 200
