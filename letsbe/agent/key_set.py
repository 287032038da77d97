"""The keys whose tasks are believed: the configuration's, else the pinned ones, which follow key sets.

A key set replaces all pinned keys at once. It is believed only when a pinned key signed it that may do everything, and
when it is newer than the pinned ones: whoever answers a poll can neither slip a key in nor bring an old one back.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import msgspec

from letsbe.agent import identity
from letsbe.agent.caller import Caller
from letsbe.agent.config import Config
from letsbe.agent.entry import recorded
from letsbe.agent.identity import Identity
from letsbe.agent.journal import Journal
from letsbe.agent.log import logger
from letsbe.decoding import decode
from letsbe.errors import LetsbeError
from letsbe.protocol import KEY_SET_PAYLOAD_TYPE, Envelope, KeySet, TrustedKey
from letsbe.signatures import MalformedEnvelope, content, key_id, raw_key, signers


def trusted(config: Config, me: Identity | None = None) -> dict[str, TrustedKey]:
    """The keys that count, by name; ``me`` is read from disk unless given."""
    if config.orchestrator.trusted_keys:
        return config.orchestrator.trusted_keys
    me = me or identity.load(config.state_dir)
    return {} if me is None else me.trusted_keys


def follow(config: Config, journal: Journal, me: Identity, key_sets: Iterable[Envelope]) -> Identity:
    """Pin what one key set after the other says, each on disk before the next; the identity then.

    Stops, with a line in the log, at one that is not believed. Where the configuration names the keys, none is heeded.
    """
    if config.orchestrator.trusted_keys:
        return me
    for envelope in key_sets:
        try:
            found, by = believed(envelope, me.trusted_keys)
        except LetsbeError as error:
            logger().warning("key set not believed", code=error.code, reason=error.message)
            break
        if found.version <= me.key_set_version:  # an answer that was lost, or an old one that somebody plays back
            logger().info("key set is not newer, passed over", version=found.version, pinned=me.key_set_version)
            continue
        me = _pinned(config, journal, me, found, by)
    return me


def believed(envelope: Envelope, pinned: dict[str, TrustedKey]) -> tuple[KeySet, str]:
    """A key set, and the name of the pinned key that signed it. Raises ``untrusted_key_set``."""
    masters = {name: key for name, key in pinned.items() if key.may_do_everything}
    try:
        signed_by = signers(envelope, masters)
        if not signed_by:
            raise _not_believed(f"none of the pinned keys that may do everything signed it ({', '.join(masters)})")
        if envelope.payloadType != KEY_SET_PAYLOAD_TYPE:
            raise _not_believed(f"unknown payload type {envelope.payloadType!r}")
        found = decode(content(envelope), KeySet)
        for name, key in found.keys.items():
            raw_key(name, key)
    except (MalformedEnvelope, msgspec.DecodeError) as error:
        raise _not_believed(str(error)) from None
    if not any(key.may_do_everything for key in found.keys.values()):
        raise _not_believed("none of its keys could sign the next one")
    return found, signed_by[0]


def _pinned(config: Config, journal: Journal, me: Identity, found: KeySet, by: str) -> Identity:
    data = {
        "version": found.version,
        "signed_by": by,
        "keys": {name: key_id(raw_key(name, key)) for name, key in found.keys.items()},
        "before": {name: key_id(raw_key(name, key)) for name, key in me.trusted_keys.items()},
    }
    me = msgspec.structs.replace(me, trusted_keys=found.keys, key_set_version=found.version)
    caller = Caller(uid=os.getuid(), requested_by=f"key {by}")
    with recorded(journal, "KEY_SET", data, changed=True, origin="orchestrator", caller=caller):
        identity.save(config.state_dir, me)
    logger().warning("trusted keys changed", **data)
    return me


def _not_believed(reason: str) -> LetsbeError:
    return LetsbeError(
        "untrusted_key_set",
        f"key set: {reason}",
        hint="`letsbe status` shows the pinned keys; to trust others, name them in the configuration.",
    )
