"""Reads answers of explorers: the Etherscan envelope, which others use too, and Tron accounts."""

from typing import Any

from providers.accounts import tron_address
from providers.errors import ErrorClass
from providers.exact import BadValue, is_none, shown, whole_of
from providers.explorer_errors import etherscan_fault, tron_fault
from providers.readers.asked import Asked
from providers.readers.json_rows import read_document
from providers.readers.rows import Row, records_of
from providers.readers.values import balance
from providers.records import Balance, Record


def read_etherscan(body: bytes, asked: Asked) -> list[Record]:
    """{"status":"1","message":"OK","result":"40891626854930000000000"} in wei, or an object."""
    return read_document(etherscan_document(body, asked), asked)


def etherscan_document(body: bytes, asked: Asked) -> Any:
    """The answer whose envelope says that it is one. Raises ProviderError."""
    document = asked.document(body)
    if (fault := etherscan_fault(document)) is not None:
        raise asked.refused(*fault)
    return document


def read_tron_account(body: bytes, asked: Asked) -> list[Record]:
    """wallet/getaccount: {"address":"T.. or 41..","balance":1793227200} in sun. {} is an account
    that this node has never seen: another node is asked."""
    document = asked.document(body)
    if (fault := tron_fault(document)) is not None:
        raise asked.refused(*fault)
    if not document:
        raise asked.refused(ErrorClass.UNKNOWN, "the node knows no such account")
    found: list[Record] = records_of(document, asked, _tron_balance)
    return found


def _tron_balance(row: Row) -> Balance:
    account = row.document
    address = tron_base58(account.get("address"))
    if address != row.name.subject:
        raise BadValue(f"the answer is about {shown(address)}")
    # A message of theirs leaves out what is zero; it never has null.
    raw = whole_of(account.get("balance", 0))
    if raw is None:
        raise BadValue("the balance is empty")
    return balance(row, raw)


def tron_base58(address: Any) -> str:
    """A Tron address of an answer, given as base58 or as 41 and 20 bytes in hexadecimal."""
    if is_none(address) or not isinstance(address, str):
        raise BadValue(f"{shown(address)} is not an address")
    try:
        return tron_address(address)
    except ValueError as error:
        raise BadValue(str(error)) from error
