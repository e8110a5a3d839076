"""Tools that refuse wrong arguments in words: which one, what is allowed, and what was given."""

import json
import re
from typing import Any, Final

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from pydantic import ValidationError
from pydantic_core import ErrorDetails

_MOST_TOLD: Final = 5
_LONGEST_GIVEN: Final = 60
_LONGEST_NAME: Final = 40
_BOUNDS: Final = (("minimum", "maximum", ""), ("minItems", "maxItems", " in a list"))
_SHOULD: Final = re.compile(r"^\w+ should ")


class CheckedTool(Tool):
    """A tool whose errors are short texts for language models, without the SDK's prefix."""

    async def run(
        self,
        arguments: dict[str, Any],
        context: Context[Any, Any],
        convert_result: bool = False,
    ) -> Any:
        """Raises ToolError: also for arguments that the tool does not have, which the SDK
        ignores."""
        wrong = self._unknown(arguments) or self._truths(arguments)
        if wrong:
            raise ToolError("; ".join(wrong[:_MOST_TOLD]))
        try:
            return await super().run(arguments, context, convert_result)
        except ToolError as error:
            cause = error.__cause__
            if isinstance(cause, ValidationError):
                found = cause.errors(include_url=False, include_context=False)
                texts = [self._text_of(each) for each in found[:_MOST_TOLD]]
                raise ToolError("; ".join(dict.fromkeys(texts))) from None
            if type(cause) is ToolError:
                raise cause from None
            raise

    def _unknown(self, arguments: dict[str, Any]) -> list[str]:
        allowed = self.parameters["properties"]
        unknown = [_given(name, _LONGEST_NAME) for name in arguments if name not in allowed]
        if not unknown:
            return []
        has = f"it has {', '.join(allowed)}" if allowed else "it has none"
        more = f" and {len(unknown) - _MOST_TOLD} more" if len(unknown) > _MOST_TOLD else ""
        return [f"{self.name} has no argument {', '.join(unknown[:_MOST_TOLD])}{more}: {has}"]

    def _truths(self, arguments: dict[str, Any]) -> list[str]:
        """Of true and false, which pass for 1 and 0 otherwise."""
        return [
            f"{name}: must not be {_given(value)}{self._about(name)}"
            for name, value in arguments.items()
            if isinstance(value, bool)
        ]

    def _text_of(self, error: ErrorDetails) -> str:
        name, *places = error["loc"]
        where = "".join((str(name), *(f"[{place}]" for place in places if isinstance(place, int))))
        if error["type"] == "missing":
            return f"{where}: is required{self._about(str(name))}"
        must = _SHOULD.sub("must ", error["msg"])
        return f"{where}: {must}; given {_given(error['input'])}{self._about(str(name))}"

    def _about(self, name: str) -> str:
        """What the schema says of an argument."""
        schema = self.parameters["properties"].get(name, {})
        told = {
            key: value for each in (*schema.get("anyOf", ()), schema) for key, value in each.items()
        }
        bounds = [
            f"{told[least]} to {told[most]}{unit}"
            for least, most, unit in _BOUNDS
            if least in told and most in told
        ]
        texts = [text for text in (told.get("description"), *bounds) if text]
        return f" ({name}: {' '.join(texts)})" if texts else ""


def _given(value: object, longest: int = _LONGEST_GIVEN) -> str:
    """A value of the caller's as one short line of ASCII."""
    if isinstance(value, str):
        value = value[: longest + 1]
    elif isinstance(value, list | dict):
        return f"{type(value).__name__} of {len(value)}"
    elif isinstance(value, int) and value.bit_length() > 128:
        return "a number of more than 38 digits"
    text = json.dumps(value, default=repr)
    return text if len(text) <= longest else f"{text[:longest]}..."
