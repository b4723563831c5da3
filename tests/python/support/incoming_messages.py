"""Valid and invalid messages of other services, for tests of the message decoders."""

from typing import Any

IDS: list[Any] = [1, -1, "66f1c0de", [1], ["66f1"], True, None, 1.5, "", "a\nb", [], [1, 2]]
USERS: list[Any] = [1, "u", ["u"], None, {}, 0.5]
ADDRESSES: list[Any] = ["1 St", ["1 St"], None, 5, {}, ["a", "b"], "a\0b"]
PRICES: list[Any] = [9.5, 10, [9.5], 0, 1e2, -1, 1e15, "9.5", None, True]
PRODUCTS: list[Any] = [
    {"product_id": "1", "name": ["Mug"], "price": 1, "quantity": [100]},
    {"id": 1, "name": "Mug"},
    {"id": 1, "price": 1},
    {"name": "Mug", "price": 1},
    {"id": 1, "name": "Mug", "price": 1, "quantity": "many"},
    [],
]
STOCKS: list[Any] = [
    [{"product_id": 1, "quantity": 98}, {"product_id": 2, "new_stock": 5}],
    {"product_id": 1, "quantity": 98, "order_id": 7},
    {"product_id": 1, "quantity": 98, "order_id": None},
    {"product_id": 1, "quantity": 98, "order_id": "7"},
    {"product_id": 1, "quantity": 98, "order_id": 0},
    {"product_id": 1, "quantity": 98, "order_id": "x"},
    {"product_id": 1},
    [{"product_id": 1, "quantity": "98"}],
    [1],
    "98",
]
PAYLOADS: list[Any] = [
    *({"_id": each, "quantity": 98} for each in IDS),
    {"_id": "1"},
    {"quantity": 1},
    {"_id": "1", "quantity": "9"},
    {"_id": "1", "quantity": 1.5},
    [],
    None,
]
PRODUCT_EVENTS: list[Any] = [
    *({"type": "updated", "productId": each, "stock": 1} for each in IDS),
    {"event": "created", "id": "p", "quantity": 98, "price": 2.5},
    {"eventType": "updated", "payload": {"_id": "p", "quantity": 98}},
    {"event": "created", "data": {"product_id": "p", "stock": 98}},
    [{"id": 1, "stock": 2}, {"id": 2, "stock": 3}],
    {"type": "deleted", "productId": "p"},
    {"event": "ProductRemoved", "product": {"id": "p"}},
    {"productId": "p", "stock": 1, "orderId": "66f1c0de0000000000000011"},
    {"productId": "p", "stock": 1, "orderId": 17},
    {"productId": "p", "stock": 1, "orderId": "x"},
    {},
    None,
    {"type": 1, "id": "p", "stock": 1},
    {"type": "updated", "id": "p"},
    {"id": "p", "stock": "98"},
    {"id": "p", "stock": 1.5},
    {"stock": 1},
    {"type": "deleted"},
    {"payload": "p", "stock": 1, "id": "p"},
]
LOGINS: list[Any] = [
    *({"userId": each, "email": "u@b.c"} for each in USERS),
    {"userId": "u", "email": "u@b.c", "preferences": {"notifications": False}},
    {"data": {"_id": "u", "preferences": None}},
    {"user": {"id": 7}},
    {},
    [],
    {"userId": "u", "email": 5},
    {"userId": "u", "preferences": "none"},
    {"userId": "u", "preferences": [1, 2]},
]

HEARD: dict[str, list[tuple[str, Any]]] = {
    "flask": [
        *(("user.registered", {"user_id": each}) for each in USERS),
        *(("user.profile.updated", {"user_id": 1, "address": each}) for each in ADDRESSES),
        *(("product.created", {"id": 1, "name": "Mug", "price": each}) for each in PRICES),
        *(("product.created", each) for each in PRODUCTS),
        *(("inventory.updated", {"product_id": each, "quantity": 1}) for each in IDS),
        *(("inventory.updated", each) for each in STOCKS),
    ],
    "gateway": [
        ("inventory-events", {"type": "product-updated", "payload": each}) for each in PAYLOADS
    ],
    "stock": [
        *(("product_events", each) for each in PRODUCT_EVENTS),
        *(("user_logged_in", each) for each in LOGINS),
    ],
}
"""By contract: the topic and the body."""
