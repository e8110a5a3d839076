"""Whose budget a call draws from, and whose state it changes: names of keys in the hot store."""

import hashlib
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from providers.resources import Resource

_FINGERPRINT: Final = 12  # digits: enough to tell keys apart, and no help to find one


@dataclass(frozen=True, slots=True)
class Account:
    """A resource as it is asked from here: through which address, with which key. Another key has a
    state of its own, so that a new one is tried at once."""

    resource: Resource
    egress_id: str
    key: SecretStr | None

    @property
    def fingerprint(self) -> str:
        """Of the key: tells keys apart, and is no help to find one; "-" without a key."""
        if self.key is None:
            return "-"
        digest = hashlib.sha256(b"perpcache:" + self.key.get_secret_value().encode())
        return digest.hexdigest()[:_FINGERPRINT]

    @property
    def member_key(self) -> str:
        """Of the breaker and health of this resource."""
        return f"provider:member:{self.egress_id}:{self.fingerprint}:{self.resource.id}"

    @property
    def account_key(self) -> str:
        """Of the budget and the pauses of the provider: they are of a key, or of an address."""
        whose = f"ip.{self.egress_id}" if self.key is None else self.fingerprint
        return f"provider:account:{self.resource.provider.id}:{whose}"

    @property
    def probes_key(self) -> str:
        """Of what shadow probes may use of the budget."""
        return f"{self.account_key}:probes"

    @property
    def unknown_key(self) -> str:
        """Of the subjects that the resource does not know."""
        return f"provider:unknown:{self.resource.id}"


SWITCHES: Final = "provider:switches"  # a hash: resource -> on or off


def usage_key(resource_id: str) -> str:
    return f"provider:usage:{resource_id}"


def questions_key(chain: str) -> str:
    return f"provider:questions:{chain}"
