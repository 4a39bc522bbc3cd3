"""Agreeing on a stream's protocol in one round trip (multistream-select 1.0)."""

from collections.abc import Sequence
from typing import Final

import trio
from libp2p.abc import IMultiselectCommunicator
from libp2p.custom_types import TProtocol
from libp2p.protocol_muxer.exceptions import MultiselectClientError, MultiselectCommunicatorError
from libp2p.protocol_muxer.multiselect_client import (
    MULTISELECT_PROTOCOL_ID,
    PROTOCOL_NOT_FOUND_MSG,
    MultiselectClient,
    is_valid_handshake,
)

_SECONDS: Final = 30


class OneTrip(MultiselectClient):
    """Offers multistream-select and the protocol at the same time, as go-libp2p does; py-libp2p waits a round trip for each."""

    async def select_one_of(
        self, protocols: Sequence[TProtocol], communicator: IMultiselectCommunicator, negotiate_timeout: int = _SECONDS
    ) -> TProtocol:
        """Agree on the one protocol that is offered; of several, one after the other is, as by py-libp2p.

        :raises MultiselectClientError: the other end does not speak it, or takes too long.
        """
        if len(protocols) != 1:
            return await super().select_one_of(protocols, communicator, negotiate_timeout)
        (protocol,) = protocols
        try:
            with trio.fail_after(negotiate_timeout):
                await communicator.write(MULTISELECT_PROTOCOL_ID)
                await communicator.write(protocol)
                greeting, answer = await communicator.read(), await communicator.read()
        except trio.TooSlowError as error:
            raise MultiselectClientError(f"no answer within {negotiate_timeout} s, protocol={protocol}") from error
        except MultiselectCommunicatorError as error:
            raise MultiselectClientError(f"the stream broke, protocol={protocol}") from error
        if is_valid_handshake(greeting) and answer == protocol:
            return protocol
        if answer == PROTOCOL_NOT_FOUND_MSG:
            raise MultiselectClientError(f"protocols not supported: tried {[protocol]}")
        raise MultiselectClientError(f"unexpected answers {greeting!r} and {answer!r}, protocol={protocol}")
