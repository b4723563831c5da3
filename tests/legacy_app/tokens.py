"""How the old service reads an Authorization header."""

import jwt
from flask import current_app


class AuthorizationError(Exception):
    """An invalid token; the text is the message for the client."""


def check_token(authorization: str | None) -> None:
    """Accepts any token that is signed and has not expired.

    Raises:
        AuthorizationError: there is none, or it is not valid.
    """
    scheme, space, token = (authorization or "").partition(" ")
    if not scheme or (space and scheme != "Bearer"):
        raise AuthorizationError("Authorization header missing.")
    try:
        # A token without its scheme is a bad one: then `token` is empty.
        jwt.decode(token, current_app.config["JWT_SECRET_KEY"], algorithms=["HS256"])
    except jwt.ExpiredSignatureError:
        raise AuthorizationError("Token has expired.") from None
    except jwt.InvalidTokenError:
        raise AuthorizationError("Invalid token.") from None
