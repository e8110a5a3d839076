"""The keys of this process: which resource is asked with which, and no key in any text."""

from collections.abc import Mapping, Sequence

from config import Settings
from providers.account import Account
from providers.errors import ProviderError
from providers.gate import Skipped
from providers.registry import key_of
from providers.resources import Resource
from texts.redaction import Redactor


class Keys:
    """Read once: a changed environment counts from the next start."""

    def __init__(
        self, resources: Sequence[Resource], environ: Mapping[str, str], settings: Settings
    ) -> None:
        self._keys = {each.id: key_of(each, environ) for each in resources}
        self._egress_id = settings.egress_id
        known = {key.get_secret_value() for key in self._keys.values() if key is not None}
        self._redactors = Redactor(known, parts=True), Redactor(settings.secrets())

    def account(self, resource: Resource) -> Account:
        return Account(resource, self._egress_id, self._keys.get(resource.id))

    def lacks(self, resource: Resource) -> bool:
        """Whether the resource needs a key that there is not."""
        return resource.needs_key and self._keys.get(resource.id) is None

    def usable(self, resource: Resource) -> Account:
        """The account by which it is asked. Raises Skipped where it needs a key."""
        if self.lacks(resource) and resource.key is not None:
            raise Skipped("no_key", f"{resource.key.variable} is not set")
        return self.account(resource)

    def clean(self, text: str) -> str:
        for each in self._redactors:
            text = each.clean(text)
        return text

    def cleaned(self, error: ProviderError) -> ProviderError:
        """The error without keys, which a provider may repeat in its words."""
        return ProviderError(error.error_class, self.clean(str(error)), until_ms=error.until_ms)
