"""Invalid order requests for the REST APIs."""


def bad_orders(product: str) -> list[object]:
    """Returns bodies that are refused with 400; `product` names the field of a line's product."""
    line: dict[str, object] = {product: "p", "quantity": 1}
    order: dict[str, object] = {"userId": "u", "products": [line]}
    no_lines: list[object] = [None, [], {}, "p", 1]
    bad_lines: list[object] = [
        "p",
        None,
        [],
        {},
        *(line | {product: wrong} for wrong in (None, 1.5, 2**64, "", "p\0", "p" * 129, ["p"])),
        {"quantity": 1},
        {product: "p"},
        *(
            line | {"quantity": wrong}
            for wrong in (
                *(None, "", "one", "1.5", "0x10", "2147483648", 0, -1, 1.5, 2**31, 2**64, 1e300),
                *(True, [1]),
            )
        ),
    ]
    return [
        None,
        [],
        "text",
        1,
        {},
        {"userId": "u"},
        *(order | {"products": wrong} for wrong in no_lines),
        *(order | {"products": [wrong]} for wrong in bad_lines),
        order | {"products": [line, {}]},
        *(order | {"userId": wrong} for wrong in (1.5, "", {"$ne": None}, "u" * 129, True, ["u"])),
    ]
