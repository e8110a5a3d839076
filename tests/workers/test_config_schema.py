"""Schemas of configuration: they refuse what pydantic refuses of JSON, and mark secrets."""

import json
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, Secret, SecretStr, ValidationError, field_validator

from workers.config_schema import config_schema, is_secret, properties_of, refusal, secret_keys


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"


class Inner(BaseModel):
    name: str
    weight: float = Field(1.0, ge=0)


class Model(BaseModel):
    text: str = Field("a", min_length=1, max_length=3, pattern=r"^[a-z]*$")
    count: int = Field(1, ge=1, lt=10)
    ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    flag: bool = False
    side: Side | None = None
    word: Literal["x", "y"] = "x"
    items: list[Inner] = Field(default_factory=list, max_length=2)
    table: dict[str, int] = {}
    any: Any = None


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 12)
    | st.floats(-1, 2, allow_nan=False)
    | st.sampled_from(["", "a", "abc", "abcd", "A", "x", "buy", "sell"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "weight", "k"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def as_whole(value: Any) -> Any:
    """To JSON Schema 3.0 is a whole number; pydantic takes it for one only where it is not strict,
    which would take texts, too."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [as_whole(each) for each in value]
    if isinstance(value, dict):
        return {key: as_whole(each) for key, each in value.items()}
    return value


@settings(max_examples=150)
@given(key=st.sampled_from(list(Model.model_fields)), value=VALUES)
@example(key="count", value=3.0)
@example(key="table", value={"name": 0.0})
def test_a_schema_takes_what_pydantic_takes_of_json(key: str, value: Any) -> None:
    schema = config_schema(Model)
    assert schema is not None
    why = refusal(schema, key, value)
    try:
        Model.model_validate_json(json.dumps({key: as_whole(value)}), strict=True)
    except ValidationError:
        assert why is not None
    else:
        assert why is None


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("count", "3", "must be a whole number"),
        ("count", 10, "must be less than 10"),
        ("ratio", 2, "must be at most 1"),
        ("side", "hold", "must be one of buy, sell, or must be null"),
        ("items", [{"weight": 1}], "each item must have name"),
        ("items", [{"name": "a", "weight": -1}], "each item weight must be at least 0"),
    ],
)
def test_refusals_are_told_in_words(key: str, value: Any, why: str) -> None:
    assert refusal(config_schema(Model) or {}, key, value) == why


class WithSecrets(BaseModel):
    class Login(BaseModel):
        user: str
        password: SecretStr

    token: SecretStr = SecretStr("Wqzx-default")
    several: list[SecretStr] = [SecretStr("Kvjq-default")]
    maybe: SecretStr | None = None
    login: Login | None = None
    other: Secret[int] | None = None
    plain: str = "shown"


def test_secret_keys_are_marked_and_their_defaults_left_out() -> None:
    secret = {"token", "several", "maybe", "login", "other"}
    assert secret_keys(WithSecrets) == secret
    schema = config_schema(WithSecrets)
    assert {key for key in properties_of(schema) if is_secret(schema, key)} == secret
    assert "default" not in json.dumps({key: properties_of(schema)[key] for key in secret})
    assert properties_of(schema)["plain"]["default"] == "shown"


def test_a_model_that_json_schema_cannot_say_leaves_its_keys_open() -> None:
    class Odd(BaseModel, arbitrary_types_allowed=True):
        thing: object = None
        call: Callable[[], int] | None = None
        needed: int

        @field_validator("needed")
        @classmethod
        def _even(cls, value: int) -> int:
            return value

    schema = config_schema(Odd)
    assert schema is not None
    assert set(properties_of(schema)) == {"thing", "call", "needed"}
    assert schema["required"] == ["needed"]
    assert refusal(schema, "call", {"a": 1}) is None
    json.dumps(schema)
    assert config_schema(None) is None
